"""Training SANSA: its dropout, its references of other kinds, its script, and that it learns."""

from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file

import train_image
from common.distributed import Processes
from data.benchmarks import open_benchmark
from data.episode import EpisodeDataset
from data.options import DataOptions
from data.sampler import training_samplers
from model.checkpoint import load_method
from model.layers import drawn_by_episode
from model.method_options import LossOptions
from model.sansa.builder import build_sansa
from model.sansa.config import HYPER_PARAMETERS, SansaOptions
from tests.helpers import random_episodes
from tests.model.sansa.conftest import lively_sansa
from tests.model.sansa.test_network import Labels

EPISODES = random_episodes(1)
FOCAL = LossOptions(loss="focal")


def labels(**changes: object) -> Labels:
    masks = EPISODES.masks
    nothing = torch.zeros(2, 64, 64, dtype=torch.bool)
    given = {
        "support_masks": masks,
        "query_mask": masks[:, 0],
        "query_ignore": nothing,
        "support_kinds": (("mask",),) * 2,
    }
    return Labels(**given | changes)


@torch.no_grad()
def loss_of(model, rows: slice, seeds: list[tuple[int, ...]] | None, given: Labels) -> float:
    """The loss of some of the episodes, with dropout by their seeds."""
    query, support = model.encode(EPISODES.query), model.encode(EPISODES.support.flatten(0, 1))
    some = Labels(*(part[rows] for part in given))
    if seeds is None:
        return model.training_loss(query[rows], support[rows], some, FOCAL)["mask"].item()
    with drawn_by_episode(model, seeds[rows], 1):
        return model.training_loss(query[rows], support[rows], some, FOCAL)["mask"].item()


def test_dropout_depends_on_the_episode_alone():
    model, seeds = lively_sansa().train(), [(0, 0, 5), (0, 0, 9)]
    before = torch.random.get_rng_state()
    together = loss_of(model, slice(0, 2), seeds, labels())
    alone = [loss_of(model, slice(row, row + 1), seeds, labels()) for row in range(2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert together == pytest.approx(sum(alone) / 2, rel=1e-5)
    assert loss_of(model, slice(0, 2), seeds, labels()) == pytest.approx(together, rel=1e-6)
    other = loss_of(model, slice(0, 2), [(0, 1, 5), (0, 1, 9)], labels())
    plain = loss_of(model, slice(0, 2), None, labels())
    assert len({round(value, 5) for value in (together, other, plain)}) == 3
    assert not model.segmenter.network.memory_attention.training


def test_references_count_in_the_loss_where_they_are_not_masks_alone():
    model = lively_sansa().train()
    alone = loss_of(model, slice(0, 2), None, labels())
    objects = tuple(EPISODES.masks)
    with_references = loss_of(model, slice(0, 2), None, labels(support_objects=objects))
    others = tuple(1 - EPISODES.masks)
    other_objects = loss_of(model, slice(0, 2), None, labels(support_objects=others))
    assert len({round(value, 5) for value in (alone, with_references, other_objects)}) == 3


@pytest.fixture(scope="module")
def flags(generated) -> tuple[object, ...]:
    return (
        *("--method", "sansa", "--preset", "tiny", "--device", "cpu", "--nworker", "0"),
        *("--datapath", generated, "--validation_episodes", "4", "--bsz", "2"),
    )


def test_it_trains_with_any_references_and_goes_on(script, flags, tmp_path):
    run = (*flags, "--prompt", "multi", "--output", tmp_path / "run", "--episodes_per_epoch", "4")
    assert script(train_image, *run, "--epochs", "1").code == 0
    path = tmp_path / "run" / "last.safetensors"
    model, facts = load_method(path, torch.device("cpu"))
    assert facts["method"] == "sansa"
    assert facts["training"]["clip_norm"] == 0.1
    learned = [p for n, p in model.named_parameters() if n.endswith("up_proj.weight")]
    assert all(weight.any() for weight in learned)


def test_what_learns_is_not_kept(script, flags, tmp_path):
    outcome = script(train_image, *flags, "--output", tmp_path / "run", "--store_features")
    assert outcome.code == 2
    assert "features cannot be kept: sansa trains the encoder itself" in outcome.error


def test_methods_that_take_masks_alone_say_so(script, tiny_flags, tmp_path):
    outcome = script(train_image, *tiny_flags, "--output", tmp_path / "run", "--prompt", "box")
    assert outcome.code == 2
    assert "dc_sam takes no box as a reference" in outcome.error


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(torchrun, generated, tmp_path):
    run = ["train_image.py", "--method", "sansa", "--preset", "tiny", "--device", "cpu"]
    run += ["--nworker", 0, "--datapath", generated, "--validation_episodes", 2]
    run += ["--max_iterations", 2, "--lr", 1e-3]
    torchrun(1, *run, "--bsz", 4, "--output", tmp_path / "one")
    torchrun(2, *run, "--bsz", 2, "--output", tmp_path / "two")
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():  # AdamW blows up the rounding of gradients that are nearly 0
        assert ((value - two[name]).abs() < 2e-4).float().mean() > 0.97, name
    moved = {name: value.abs().max() for name, value in one.items() if "up_proj.weight" in name}
    assert min(moved.values()) > 1e-4


@pytest.mark.slow
def test_it_learns_drawn_pictures(generated):
    preset = HYPER_PARAMETERS["tiny"]["pascal"]
    names = {field.name for field in fields(SansaOptions)}
    processes = Processes(0, 1, torch.device("cpu"))
    benchmark = open_benchmark(
        DataOptions(datapath=generated), processes, lambda found: [found.training]
    )
    sampler, _ = training_samplers(benchmark, 1, 0, None)
    torch.manual_seed(0)
    model = build_sansa(SansaOptions(**{n: v for n, v in preset.items() if n in names})).train()
    drawn = EpisodeDataset(sampler.split, sampler.training_keys(0)[:8], model.geometry)
    batches = [drawn.join([drawn[row] for row in rows]) for rows in (range(4), range(4, 8))]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, preset["lr"], weight_decay=preset["weight_decay"])
    losses = []
    for update in range(16):
        batch = batches[update % 2]
        query = model.encode(batch.query_image)
        support = model.encode(batch.support_images.flatten(0, 1))
        loss = model.training_loss(query, support, batch, LossOptions(loss=preset["loss"]))["mask"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, preset["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-2:]) < 0.75 * sum(losses[:2])
