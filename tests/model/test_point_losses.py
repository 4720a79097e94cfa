import math
import zlib

import pytest
import torch

from model.point_losses import PointDraws, point_losses, sample, unsure_points
from tests.golden.fill import disc, fill, rect
from tests.golden.golden_set import assert_close
from tests.golden.method_set import assert_changes_are_seen, method_set


def read_slowly(grid: torch.Tensor, x: float, y: float) -> float:
    """A map's value at a place in [0, 1] x [0, 1]: four pixels, weighted; 0 outside."""
    height, width = grid.shape
    column, row = x * width - 0.5, y * height - 0.5
    value = 0.0
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < height and 0 <= j < width:
                value += (1 - abs(row - i)) * (1 - abs(column - j)) * grid[i, j].item()
    return value


def slow_losses(
    logits: torch.Tensor, mask: torch.Tensor, candidates: list, fresh: list, kept: int
) -> tuple[float, float]:
    """As the method says it, point by point."""
    order = sorted(candidates, key=lambda point: abs(read_slowly(logits, *point)))
    entropy = overlap = total = 0.0
    points = order[:kept] + fresh
    for x, y in points:
        probability = 1 / (1 + math.exp(-read_slowly(logits, x, y)))
        label = read_slowly(mask, x, y)
        entropy -= label * math.log(probability) + (1 - label) * math.log(1 - probability)
        overlap += probability * label
        total += probability + label
    return entropy / len(points), 1 - (2 * overlap + 1) / (total + 1)


def test_values_between_pixels_and_outside():
    grid = torch.tensor([[[0.0, 4.0], [8.0, 12.0]]])
    points = torch.tensor([[[0.25, 0.25], [0.5, 0.5], [0.75, 0.25], [0.0, 0.25]]])
    # a pixel's centre, the middle of all four, another centre, half a pixel outside
    assert torch.equal(sample(grid, points), torch.tensor([[0.0, 6.0, 4.0, 0.0]]))
    assert torch.equal(sample(grid + 1, points[:, 3:]), torch.tensor([[0.5]]))


def test_losses_are_those_of_a_slow_reference():
    logits = 2 * fill("input/point_logits", (3, 8, 9))
    masks = torch.stack([disc(16, 12, 6, 5, 4), rect(16, 12, 1, 2, 9, 11), torch.zeros(16, 12)])
    draws = PointDraws.drawn(3, torch.Generator().manual_seed(1), points=20)
    assert draws.candidates.shape == (3, 60, 2)
    assert draws.fresh.shape == (3, 5, 2)
    entropy, dice = point_losses(logits, masks, draws)
    for number in range(3):
        candidates, fresh = draws.candidates[number].tolist(), draws.fresh[number].tolist()
        expected = slow_losses(logits[number], masks[number], candidates, fresh, kept=15)
        assert (entropy[number].item(), dice[number].item()) == pytest.approx(expected, abs=1e-5)


def test_unsure_points_are_chosen_without_gradients_and_learned_with():
    logits = torch.linspace(-1, 1, 16).view(1, 4, 4).requires_grad_()
    draws = PointDraws.drawn(1, torch.Generator().manual_seed(0), points=8)
    points = unsure_points(logits, draws)
    assert points.shape == (1, 8, 2)
    assert not points.requires_grad
    assert torch.equal(points[:, 6:], draws.fresh)
    left_out = sample(logits, draws.candidates).abs().sort(dim=1).values[:, 6:]
    assert sample(logits, points[:, :6]).abs().max() <= left_out.min()
    sum(point_losses(logits, torch.ones(1, 4, 4), draws))[0].backward()
    assert logits.grad.abs().sum() > 0


def test_masks_lose_alone_as_together():
    logits = fill("input/point_logits", (2, 8, 8))
    masks = torch.stack([disc(32, 32, 9, 9, 5), rect(32, 32, 5, 5, 20, 30)])
    parts = [PointDraws.drawn(1, torch.Generator().manual_seed(seed), 64) for seed in (3, 4)]
    together = torch.stack(point_losses(logits, masks, PointDraws.join(parts)), dim=1)
    for row, part in enumerate(parts):
        alone = torch.stack(point_losses(logits[row, None], masks[row, None], part), dim=1)
        assert torch.equal(together[row, None], alone)


def test_losses_of_the_published_program():
    golden = method_set("segic")
    prefix = golden.json("case.json")["prefix"] + "input/"
    candidates, fresh = (
        torch.rand(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        for name, shape in (
            (prefix + "points/loss/candidates", (3, 37632, 2)),
            (prefix + "points/loss/random", (3, 3136, 2)),
        )
    )
    logits = 2 * fill(prefix + "loss_logits", (3, 1, 32, 32))[:, 0]
    shapes = disc(128, 128, 50, 60, 30), rect(128, 128, 10, 20, 100, 110), torch.zeros(128, 128)
    masks, draws = torch.stack(shapes), PointDraws(candidates, fresh)
    points = unsure_points(logits, draws)
    losses = torch.stack(point_losses(logits, masks, draws), dim=1)
    found = {
        "entropy_dice": losses.mean(dim=0),
        "mean_abs_point_logit": sample(logits, points).abs().mean(dim=1),
        "point_label_sum": sample(masks, points).sum(dim=1),
    }
    expected = golden.tensors("segic_parts", "loss/")
    assert_close(found, expected, {"point_label_sum": 1e-2, "": 1e-6})
    assert_changes_are_seen(expected, {"": 1e-6})
