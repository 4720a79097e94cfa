import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from common.distributed import Processes
from common.errors import AGAIN, Failure, UsageError
from common.optimizer import rate_factor
from common.stopping import StopSignal
from common.trainer import Trainer
from common.training_options import TrainingOptions

CPU = torch.device("cpu")


class Numbers(Dataset):
    """Episodes that are their own index."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> int:
        return index

    @staticmethod
    def join(parts: Sequence[int]) -> list[int]:
        return list(parts)


@dataclass(frozen=True)
class Several(Processes):
    """One of several processes that nobody started."""

    def wait(self) -> None:
        pass

    def any(self, value: bool) -> bool:
        return value


def make_trainer(
    rank: int = 0, count: int = 1, stop: StopSignal | None = None, **options: object
) -> Trainer:
    flags = TrainingOptions(**{"epochs": 2, "bsz": 8, "nworker": 0, "device": "cpu", **options})
    with pytest.MonkeyPatch.context() as patch:  # wrapping would wait for the others
        patch.setattr("common.trainer.DistributedDataParallel", lambda module, **_: module)
        return Trainer(nn.Linear(2, 1), flags, Several(rank, count, CPU), len(Numbers()), stop=stop)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_update_has_the_same_episodes_whoever_computes_them(count: int, accumulate: int):
    shares = {"bsz": 8 // count // accumulate, "accumulate": accumulate}
    trainers = [make_trainer(rank, count, **shares) for rank in range(count)]
    updates: list[list[int]] = [[] for _ in range(6)]
    for trainer in trainers:
        assert (trainer.update_size, trainer.epoch_length, trainer.updates) == (8, 6, 12)
        number = 0
        for step, batch in enumerate(trainer.batches(Numbers())):
            assert len(batch) == shares["bsz"]
            updates[number] += batch
            number += trainer.ends_update(step)
        assert number == 6
    # the last two of 50 make no update
    assert [sorted(update) for update in updates] == [[*range(i, i + 8)] for i in range(0, 48, 8)]


@dataclass(frozen=True)
class Answered(Processes):
    """One of two processes, which knows what the other one says."""

    other: tuple[dict[str, float], ...]

    def gather(self, value: list) -> list:
        return [value, list(self.other)]


def test_losses_count_by_the_terms_they_are_means_of():
    # terms of 4 batches of an update: 1, 3 here and 2, 6 elsewhere; their mean is 3
    other = ({"mask": 2.0}, {"mask": 6.0})
    options = TrainingOptions(bsz=1, accumulate=2, nworker=0, device="cpu")
    trainer = Trainer(nn.Linear(2, 1), options, Processes(0, 1, CPU), len(Numbers()))
    trainer.processes = Answered(0, 2, CPU, other)
    found = [*trainer.weighed(["one", "three"], lambda b: {"mask": 1.0 if b == "one" else 3.0})]
    assert found == [("one", {"mask": 1 / 3}), ("three", {"mask": 1.0})]
    # 0 terms everywhere: a loss without terms is 0, and counts as it is
    trainer.processes = Processes(0, 1, CPU)
    assert [*trainer.weighed([1, 2], lambda _: {"mask": 0.0})] == [(b, {"mask": 1}) for b in (1, 2)]
    assert [*trainer.weighed([1, 2], lambda _: {})] == [(1, {}), (2, {})]


def test_the_last_epoch_ends_with_the_last_update():
    trainer = make_trainer(max_iterations=8)
    trainer.update, trainer.epoch = 6, 1
    assert [*trainer.batches(Numbers())] == [[*range(8)], [*range(8, 16)]]


def test_a_stopped_run_goes_on_with_the_next_episodes(tmp_path: Path):
    stop = StopSignal()
    trainer = make_trainer(stop=stop, bsz=4, accumulate=2)
    seen = []
    for number, batch in enumerate(trainer.batches(Numbers())):
        seen.append(batch)
        stop.asked = number >= 2  # in the middle of the second update, which is finished
        trainer.update += trainer.ends_update(number)
    assert (trainer.stopped, trainer.update, len(seen)) == (True, 2, 4)
    assert trainer.mean([0.1, 0.2, 0.3, 0.4]) == pytest.approx(0.25)
    assert trainer.leave(tmp_path, dict(trainer.model.named_parameters())) == AGAIN

    resumed = make_trainer(bsz=8)
    resumed.resume(tmp_path)
    rest = [*resumed.batches(Numbers())]
    assert not resumed.stopped
    assert rest == [[*range(n, n + 8)] for n in range(16, 48, 8)]
    assert resumed.mean([0.6]) == math.fsum([0.1, 0.2, 0.3, 0.4, 0.6]) / 5


def test_a_wish_to_stop_shows_before_validation():
    stop = StopSignal()
    trainer = make_trainer(stop=stop)
    for number, _ in enumerate(trainer.batches(Numbers())):
        stop.asked = number == 5
        trainer.update += 1
    assert (trainer.stopped, trainer.update) == (True, 6)
    assert [*trainer.batches(Numbers())] == []
    assert math.isnan(trainer.mean([]))


def test_the_size_of_an_update_decides_how_much_is_accumulated():
    for count, accumulate in ((1, 12), (2, 6), (3, 4)):
        trainer = make_trainer(0, count, bsz=1, update_size=12)
        assert trainer.options.accumulate == accumulate
        assert trainer.update_size == 12
    with pytest.raises(UsageError, match="--update_size 12 is no multiple of --bsz 1 times 5"):
        make_trainer(0, 5, bsz=1, update_size=12)
    assert TrainingOptions(update_size=8, accumulate=2).problems() == [
        "--update_size says how much is accumulated: leave out --accumulate"
    ]


def test_an_epoch_smaller_than_an_update_is_refused():
    with pytest.raises(UsageError, match="50 episodes is smaller than one update of 64"):
        make_trainer(accumulate=8)


def test_rates_of_parts_of_the_model():
    model = nn.ModuleDict({"head": nn.Linear(2, 1), "body": nn.Linear(2, 2)})
    model["body"].bias.requires_grad_(False)
    processes = Processes(0, 1, CPU)
    options = TrainingOptions(lr=1e-3, device="cpu")
    groups = Trainer(model, options, processes, 10, rates={"body.": 0.1}).optimizer.param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates == {
        id(model["head"].weight): 1e-3,
        id(model["head"].bias): 1e-3,
        id(model["body"].weight): pytest.approx(1e-4),
    }


def rates_of(**options: object) -> list[float]:
    """The learning rate of every update."""
    trainer = make_trainer(lr=1.0, **options)
    rates = []
    for _ in range(trainer.updates):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.optimizer.step()
        trainer.schedule.step()
    return rates


def test_schedules_of_the_learning_rate():
    # 2 epochs of 6 updates
    assert rates_of(schedule="step", drop_after=1) == pytest.approx([1.0] * 6 + [0.1] * 6)
    assert rates_of(schedule="linear") == pytest.approx([1 - k / 12 for k in range(12)])
    cosine = rates_of()
    assert cosine == pytest.approx([rate_factor(k, "cosine", 0, 12) for k in range(12)])
    assert cosine[6] == pytest.approx(0.5)
    rising = rates_of(schedule="linear", warmup=4)
    assert rising == pytest.approx([0.25, 0.5, 0.75, 1.0, *(1 - k / 8 for k in range(8))])
    assert rates_of(warmup=2)[:3] == pytest.approx([0.5, 1.0, 1.0])
    curve = [(1 - k / 12) ** 0.9 for k in range(12)]
    assert rates_of(schedule="poly") == pytest.approx(curve)
    assert rates_of(schedule="poly_tenfold") == pytest.approx([10 * rate for rate in curve])
    assert rates_of(schedule="poly_tenfold", warmup=4)[:5] == pytest.approx([2.5, 5, 7.5, 10, 10])


def test_sgd_goes_on_in_the_direction_it_had():
    trainer = make_trainer(optimizer="sgd", schedule="linear", lr=0.1, weight_decay=0.5)
    weight = trainer.model.weight
    nn.init.ones_(weight)
    for gradient in (1.0, 0.0):
        trainer.optimizer.zero_grad()
        weight.grad = torch.full_like(weight, gradient)
        trainer.optimizer.step()
    # 1 + 0.5 x 1 = 1.5, so 1 - 0.15 = 0.85; 0.9 x 1.5 + 0.5 x 0.85 = 1.775, so 0.85 - 0.1775
    torch.testing.assert_close(weight.detach(), torch.full((1, 2), 0.6725))


def test_a_rate_that_never_falls_is_refused():
    with pytest.raises(UsageError, match="--warmup 12: there are 12 updates"):
        make_trainer(warmup=12)
    assert TrainingOptions(drop_after=3).problems() == TrainingOptions(schedule="step").problems()
    assert TrainingOptions(warmup=-1).problems() == ["--warmup cannot be negative: -1"]


def test_a_schedule_goes_on_where_it_stopped(tmp_path: Path):
    options = {"schedule": "linear", "warmup": 4, "lr": 1.0}
    trainer = make_trainer(**options)
    for _ in range(6):
        trainer.optimizer.step()
        trainer.schedule.step()
    trainer.finish_epoch(tmp_path, dict(trainer.model.named_parameters()), {}, 1.0)
    again = make_trainer(**options)
    again.resume(tmp_path)
    assert again.optimizer.param_groups[0]["lr"] == pytest.approx(0.75)
    again.optimizer.step()
    again.schedule.step()
    assert again.optimizer.param_groups[0]["lr"] == pytest.approx(0.625)


def test_what_weight_decay_leaves_alone():
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(2, 2),
            "norm": nn.LayerNorm(2),
            "channels": nn.GroupNorm(1, 2),
            "table": nn.Embedding(2, 2),
        }
    )
    model.register_parameter("scale", nn.Parameter(torch.ones(())))

    def decayed(undecayed: str) -> set[str]:
        options = TrainingOptions(weight_decay=0.5, undecayed=undecayed, device="cpu")
        groups = Trainer(model, options, Processes(0, 1, CPU), 10).optimizer.param_groups
        found = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        assert len(found) == len(list(model.parameters()))
        assert set(found.values()) <= {0.0, 0.5}
        return {name for name, p in model.named_parameters() if found[id(p)]}

    everything = {name for name, _ in model.named_parameters()}
    assert decayed("nothing") == everything
    alone = {"norm.weight", "norm.bias", "table.weight"}
    assert decayed("layer_norms") == everything - alone
    assert decayed("vectors") == {"linear.weight"}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("optimizer", {}),
        ("optimizer", {"state": 3, "param_groups": [{}]}),
        ("schedule", {}),
        ("weights", {"weight": [1.0]}),
        ("update", "3"),
        ("best", None),
    ],
)
def test_a_state_of_another_kind_is_refused(tmp_path: Path, part: str, value):
    trainer = make_trainer()
    trainer.finish_epoch(tmp_path, dict(trainer.model.named_parameters()), {}, 1.0)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.save({**state, part: value}, tmp_path / "state.pt")
    with pytest.raises(UsageError, match=r"other weights learn|no state of "):
        make_trainer().resume(tmp_path)


def test_a_run_in_which_other_weights_learned_is_not_resumed(tmp_path: Path):
    trainer = make_trainer()
    trainer.setbacks.skipped = 2
    trainer.finish_epoch(tmp_path, dict(trainer.model.named_parameters()), {}, 1.0)
    again = make_trainer()
    weights = again.resume(tmp_path)
    assert (again.epoch, again.best) == (1, 1.0)
    assert again.setbacks.counts() == {"skipped_updates": 2}
    assert torch.equal(weights["weight"], trainer.model.weight)
    fewer = nn.Linear(2, 1, bias=False)
    with pytest.raises(UsageError, match="other weights learn in the run"):
        Trainer(fewer, trainer.options, trainer.processes, 50).resume(tmp_path)


def test_only_what_decides_the_weights_is_compared_when_a_run_goes_on():
    one = TrainingOptions(bsz=8, accumulate=1, nworker=0, device="cpu").deciding(8)
    other = TrainingOptions(bsz=2, accumulate=4, nworker=3, device="cuda").deciding(8)
    assert one == other
    for changed in (
        {"lr": 1.0},
        {"epochs": 1},
        {"seed": 1},
        {"precision": "bf16"},
        {"optimizer": "sgd"},
        {"schedule": "linear"},
        {"warmup": 1},
        {"drop_after": 1},
        {"undecayed": "vectors"},
    ):
        (name,) = changed
        assert TrainingOptions(**changed).deciding(8)[name] != one[name]
    assert TrainingOptions().deciding(4) != one


def test_the_mean_is_over_numbers():
    assert make_trainer().mean([1.0, float("nan"), 4.0, float("inf")]) == 2.5
    with pytest.raises(Failure, match="no loss of epoch 1 was a number"):
        make_trainer().mean([float("nan")])
