"""SINE's losses on pairs: tokens of references, targets, and who computes them."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from model.layers import drawn_by_episode
from model.sine.builder import build_sine
from model.sine.config import SineLossOptions, SineOptions
from model.sine.network import Sine
from model.sine.training import pair_rules, reference_tokens, targets_of

SIDE = 112
LOSSES = SineLossOptions(points=64)


@dataclass(frozen=True)
class Objects:
    """What a view shows."""

    masks: Tensor
    class_ids: Tensor
    ids: Tensor


@dataclass(frozen=True)
class Pairs:
    """What a batch says."""

    support_names: list[str]
    query_names: list[str]
    support: list[Objects]
    query: list[Objects]

    def __getitem__(self, rows: slice) -> "Pairs":
        return Pairs(*(part[rows] for part in vars(self).values()))


def box(left: int, top: int, right: int, bottom: int) -> Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def objects(*rows: tuple[int, int, Tensor]) -> Objects:
    """Of (class, id, mask)."""
    classes, ids, masks = zip(*rows, strict=True)
    return Objects(torch.stack(masks), torch.tensor(classes), torch.tensor(ids))


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    small, large, right = box(10, 10, 30, 30), box(5, 50, 60, 100), box(70, 0, 112, 40)
    return Pairs(
        ["a", "b", "c"],
        ["a", "x", "c"],
        [
            objects((3, 1, small), (3, 2, large), (9, 5, right)),
            objects((4, 1, large)),
            objects((7, 8, right), (8, 9, small)),
        ],
        [
            objects((3, 2, small), (9, 5, large)),
            objects((4, 1, small), (4, 6, right)),
            objects((8, 9, large)),
        ],
    )


@pytest.fixture(scope="module")
def model() -> Sine:
    torch.manual_seed(0)
    return build_sine(SineOptions(shrunk=True)).train()


def losses_of(model: Sine, pairs: Pairs, rows: slice, seed: int = 0) -> dict[str, Tensor]:
    """Losses of some of the pairs, each with its own seed."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 3, SIDE, SIDE, generator=generator)[:, rows]
    seeds = [(seed, 0, index) for index in range(3)][rows]
    with drawn_by_episode(model, seeds, 1):
        return model.training_loss(
            model.encode(images[0]), model.encode(images[1]), pairs[rows], LOSSES
        )


def test_tokens_of_objects_and_of_ascending_classes():
    features = torch.randn(1, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    one, other, third = box(0, 0, 56, 56), box(56, 56, 112, 112), box(0, 56, 56, 112)
    identities, classes = reference_tokens(
        features, objects((5, 1, one), (2, 2, other), (5, 3, third))
    )
    assert identities.shape == (1, 3, 6)
    assert classes.shape == (1, 2, 6)
    torch.testing.assert_close(classes[0, 0], identities[0, 1])
    # class 5 is the union of two objects of one area (up to the pixel between them)
    mean = (identities[0, 0] + identities[0, 2]) / 2
    torch.testing.assert_close(classes[0, 1], mean, atol=0.1, rtol=0)


def test_classes_of_targets_are_places_among_those_of_the_reference(pairs):
    first, second, third = targets_of(pairs)
    assert first.classes.tolist() == [0, 1]
    assert second.classes.tolist() == [0, 0]
    assert third.classes.tolist() == [1]
    # object 1 of the first reference is gone; ids of two pictures are other objects
    assert first.identities.queries.tolist() == [1, 2]
    assert first.identities.objects.tolist() == [0, 1]
    assert len(second.identities) == 0
    assert [target.references for target in (first, second, third)] == [3, 1, 2]


def test_losses_of_a_batch_are_those_of_its_parts_by_their_terms(model, pairs):
    rows = [slice(0, 1), slice(1, 3)]
    whole = losses_of(model, pairs, slice(0, 3))
    parts = [(losses_of(model, pairs, r), model.loss_terms(pairs[r]), r) for r in rows]
    assert len(whole) == 4 * (1 + len(model.former.layers))
    for name, loss in whole.items():
        counts = [terms.get(name, r.stop - r.start) for _, terms, r in parts]
        mean = sum(
            losses[name] * count for (losses, *_), count in zip(parts, counts, strict=True)
        ) / sum(counts)
        assert loss.item() == pytest.approx(mean.item(), rel=1e-4), name


def test_points_are_drawn_by_the_seed_alone(model, pairs):
    first, again, other = (losses_of(model, pairs, slice(0, 1), seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["loss_mask"].item() != other["loss_mask"].item()


def test_everything_but_the_backbone_learns(model, pairs):
    model.zero_grad()
    sum(losses_of(model, pairs, slice(0, 3)).values()).backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith("backbone.")
        assert (parameter.grad is None) == frozen, name
        assert frozen or parameter.grad.abs().sum() > 0, name


def test_draws_are_those_of_the_release():
    rules, first = pair_rules(896, LOSSES)["panoptic"]
    assert first == "class"
    assert (rules.same_image, rules.keep, rules.crowd) == (0.5, "classes", False)
    assert (rules.view.low, rules.view.high, rules.view.flip) == (0.1, 2.0, 0.5)
    assert rules.view.antialias
    assert set(pair_rules(896, LOSSES)) == {"instance", "panoptic", "paco_part"}


def test_other_scales_can_be_asked_for():
    losses = SineLossOptions(least_scale=0.5, largest_scale=1.5)
    assert losses.problems() == []
    rules, _ = pair_rules(128, losses)["instance"]
    assert (rules.view.side, rules.view.low, rules.view.high) == (128, 0.5, 1.5)
    for least, largest in ((0.0, 1.0), (1.5, 0.5), (1.0, float("inf")), (float("nan"), 1.0)):
        [problem] = SineLossOptions(least_scale=least, largest_scale=largest).problems()
        assert problem.startswith("--least_scale")
