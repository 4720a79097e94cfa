"""One update of SANSA's adapters as its released program makes it, and its measures."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from common.distributed import Processes
from common.trainer import Trainer
from common.training_options import TrainingOptions
from data.prompts import Draws, draw_mark
from evaluation.iou import EpisodeScores
from model.losses import dice, focal
from model.method_options import LossOptions
from model.sansa.features import EncodedImages
from tests.golden.fill import disc, fill
from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import MethodSet, assert_changes_are_seen, method_set
from tests.golden.sansa_case import SansaCase

TOLERANCES = {"update/": 2e-8, "grad/": 1e-3, "losses|grad_": 1e-4, "": 2e-4}
"""Of losses, norms and gradients: as parts of the largest number."""
LOSSES = LossOptions(loss="focal")


@dataclass(frozen=True)
class Labels:
    """What a batch of episodes says; see `model.method_data.LabelledEpisodes`."""

    support_masks: Tensor
    support_kinds: list[list[str]]
    support_objects: tuple[Tensor, ...]
    query_mask: Tensor
    query_ignore: Tensor


@pytest.fixture(scope="module")
def golden() -> MethodSet:
    return method_set("sansa")


@pytest.fixture
def case(golden: MethodSet) -> SansaCase:
    """With weights of its own, which an update changes."""
    return SansaCase(golden)


def labels(case: SansaCase, plan: dict) -> Labels:
    draws = Draws.of_seed(case.facts["seed_of_prompts"])
    frames, kinds = plan["frames"], plan["kinds"]
    objects = torch.stack([case.masks[torch.tensor(row[:-1])] for row in frames])
    marks = torch.stack(
        [
            torch.stack(
                [
                    draw_mark(mask, kind, draws, boxes="largest", idle_draws=False)
                    for mask, kind in zip(masks, row, strict=True)
                ]
            )
            for masks, row in zip(objects, kinds, strict=True)
        ]
    )
    truth = case.masks[torch.tensor([row[-1] for row in frames])]
    given = () if plan["prompt"] == "mask" else tuple(objects)
    return Labels(marks, kinds, given, truth, torch.zeros_like(truth, dtype=torch.bool))


def update(case: SansaCase, plan: dict) -> Weights:
    """What the file holds of an update."""
    model, given = case.model.train(), labels(case, plan)
    frames = plan["frames"]
    numbers = sorted({number for row in frames for number in row})
    places = {number: place for place, number in enumerate(numbers)}
    encoded = EncodedImages.join([model.encode(case.images[n : n + 1]) for n in numbers])
    support = encoded[torch.tensor([places[n] for row in frames for n in row[:-1]])]
    query = encoded[torch.tensor([places[row[-1]] for row in frames])]
    logits: list[Tensor] = []
    enlarge = model.enlarge

    def note(small: Tensor, to: tuple[int, int]) -> Tensor:
        logits.append(enlarge(small, to))
        return logits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "enlarge", note)
        losses = model.training_loss(query, support, given, LOSSES)
    targets, references = logits
    options = TrainingOptions(lr=1e-4, weight_decay=0.0, clip_norm=0.1, bsz=1, epochs=5)
    trainer = Trainer(model, options, Processes(0, 1, torch.device("cpu")), episodes_per_epoch=10)
    losses["mask"].backward()
    prefix = "segmenter.network."
    learning = {
        "sam." + name.removeprefix(prefix): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    gradients = {name: learning[name].grad.clone() for name in sorted(learning)}
    norms = torch.stack([gradient.norm() for gradient in gradients.values()])
    before = {name: value.detach().clone() for name, value in learning.items()}
    trainer.clip_gradients()
    clipped = torch.stack([learning[name].grad.norm() for name in gradients]).norm()
    assert clipped.item() == pytest.approx(min(0.1, norms.norm().item()), rel=1e-4)
    trainer.optimizer.step()
    found: Weights = {"grad_norms": norms, "grad_total": norms.norm()}
    for name, gradient in gradients.items():
        step = (slice(None, None, 37),) * 2 if gradient.dim() > 1 else slice(None, None, 7)
        found[f"grad/{name}_s"] = gradient[step]
        if name.endswith("blocks.10.adapter.down_proj.weight"):
            change = learning[name].detach() - before[name]
            found[f"update/{name}_s"] = change.flatten()[::997]
    references = references.unflatten(0, given.support_masks.shape[:2])
    every = torch.cat([references, targets[:, None]], dim=1)
    found["logits_s"] = every.flatten(0, 1).detach()[:, ::16, ::16]
    first = 1 if plan["prompt"] == "mask" else 0
    objects = torch.stack([case.masks[torch.tensor(row)] for row in frames])
    counted, truth = every[:, first:].detach(), objects[:, first:]
    both = [focal(counted, truth).mean(), dice(counted, truth, None, False, 1.0).mean()]
    found["losses"] = torch.stack([*both, losses["mask"].detach()])
    return found


def relative(values: Weights, scale: Weights) -> Weights:
    """Losses, norms and gradients as parts of the largest number in each."""
    return {
        name: value if name.startswith(("update/", "logits")) else value / scale[name].abs().max()
        for name, value in values.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask", "multi_b2", "multi_t3"])
def test_an_update(case: SansaCase, name: str):
    expected = case.golden.tensors("sansa_train", f"{name}/")
    found = update(case, case.facts["training"][name])
    assert_close(relative(found, expected), relative(expected, expected), TOLERANCES)


def test_changed_values_are_seen(golden: MethodSet):
    for name in ("mask", "multi_b2", "multi_t3"):
        values = golden.tensors("sansa_train", f"{name}/")
        assert_changes_are_seen(relative(values, values), TOLERANCES)


def test_losses_of_samples_of_several_frames(golden: MethodSet):
    logits = fill("sansa/input/loss_logits", (6, 48, 48)).view(2, 3, 48, 48)
    discs = torch.stack([disc(48, 48, 10 + 5 * i, 24, 6 + i) for i in range(6)])
    for frames in (1, 2, 3):
        expected = golden.json("sansa_metrics.json")[f"loss_last{frames}"]
        some, truth = logits[:, -frames:], discs.view_as(logits)[:, -frames:]
        found = focal(some, truth).mean(), dice(some, truth, None, False, 1.0).mean()
        assert found[0].item() == pytest.approx(expected["loss_mask"], rel=1e-5)
        assert found[1].item() == pytest.approx(expected["loss_dice"], rel=1e-5)


def test_scores_but_for_a_class_without_episodes(golden: MethodSet):
    facts = golden.json("sansa_metrics.json")
    scores = EpisodeScores()
    for index, episode in enumerate(facts["episodes_class_pred_truth_discs"]):
        found, truth = (disc(64, 64, *episode[i : i + 3])[None] > 0 for i in (1, 4))
        scores.add([index], [episode[0]], found, truth)
    classes, released = facts["class_ids"], facts["per_class"]
    per_class = scores.per_class()
    for number, share in zip(classes, released, strict=True):
        assert per_class.get(number, 0.0) == pytest.approx(100 * share, abs=1e-4)
    # the released program counts the class that was never sampled as 0; here it is left out
    assert scores.missing(classes) == [6]
    assert scores.miou(classes) * 3 / 4 == pytest.approx(facts["miou"], abs=1e-4)
    assert scores.fb_iou(classes) == pytest.approx(facts["fb_iou"], abs=1e-4)
