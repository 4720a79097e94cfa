import math

import pytest
import torch
from torch import Tensor

from model.correspondence import AREA_OFFSET, mask_average, prior_mask, shrink_mask


def image(*rows: str) -> Tensor:
    """A mask, 1 x 1 x H x W, drawn with # and dots."""
    return torch.tensor([[float(c == "#") for c in row] for row in rows])[None, None]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # every cell takes its first pixel
        (("#...", "####", "..#.", "...."), ("#.", ".#")),
        # a mask that would vanish marks the cells it touches
        (("....", ".#..", "....", "..##"), ("#.", ".#")),
        # an empty one stays empty
        (("....", "....", "....", "...."), ("..", "..")),
    ],
)
def test_masks_are_brought_to_a_feature_map(rows: tuple[str, ...], expected: tuple[str, ...]):
    assert torch.equal(shrink_mask(image(*rows), 2), image(*expected))


def test_samples_are_rescued_one_by_one():
    seen = image("#...", ".#..", "....", "...#")  # one pixel survives, the others do not count
    lost = image("....", "...#", "....", "....")
    batch = torch.cat([seen, lost, torch.zeros_like(seen)])

    expected = torch.cat([image("#.", ".."), image(".#", ".."), torch.zeros(1, 1, 2, 2)])
    assert torch.equal(shrink_mask(batch, 2), expected)


@pytest.mark.parametrize(("height", "width", "side"), [(7, 7, 3), (10, 6, 4), (5, 5, 8)])
def test_no_single_pixel_is_ever_lost(height: int, width: int, side: int):
    masks = torch.eye(height * width).view(-1, 1, height, width)
    small = shrink_mask(masks, side)
    assert small.shape == (height * width, 1, side, side)
    assert small.flatten(1).any(dim=1).all()
    assert ((small == 0) | (small == 1)).all()


def test_the_type_is_kept():
    assert shrink_mask(torch.ones(1, 1, 8, 8, dtype=torch.bfloat16), 4).dtype == torch.bfloat16


def test_a_prototype_is_the_mean_over_the_mask():
    features = torch.tensor([[1.0, 3.0], [50.0, 70.0]]).view(1, 1, 2, 2)
    average = mask_average(features, image("##", ".."))
    torch.testing.assert_close(average, torch.full((1, 1, 1, 1), 4 / (2 + AREA_OFFSET)))


def random_case(seed: int, shots: int = 2, positive: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Query and support features and masks at four times their size."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(2, 6, 4, 4, generator=generator)
    support = torch.randn(2, shots, 6, 4, 4, generator=generator)
    if positive:
        query, support = query.relu(), support.relu()
    mask = torch.rand(2, shots, 4, 4, generator=generator) > 0.6
    mask[:, :, 0, 0] = True
    return query, support, mask.float().repeat_interleave(4, 2).repeat_interleave(4, 3)


def dense_reference(query: Tensor, support: Tensor, mask: Tensor, normalize: bool) -> Tensor:
    """Every query place against every support place, masked features and all; mask B K S S."""
    batch, shots, _, side, _ = support.shape
    places = [(y, x) for y in range(side) for x in range(side)]
    result = torch.zeros(batch, 1, side, side)
    for b in range(batch):
        for k in range(shots):
            prior = torch.zeros(side, side)
            for qy, qx in places:
                q = query[b, :, qy, qx].tolist()
                best = -math.inf
                for sy, sx in places:
                    s = (support[b, k, :, sy, sx] * mask[b, k, sy, sx]).tolist()
                    dot = sum(i * j for i, j in zip(q, s, strict=True))
                    best = max(best, dot / (math.hypot(*q) * math.hypot(*s) + 1e-7))
                prior[qy, qx] = best
            if normalize:
                prior = (prior - prior.min()) / (prior.max() - prior.min() + 1e-7)
            result[b, 0] += prior / shots
    return result


def test_finds_the_pixels_that_point_where_the_marked_ones_do():
    # the upper row points along (1, 0), the lower one along (0, 1); the support marks the upper
    query = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(1, 2, 2, 1).expand(1, 2, 2, 2)
    support = 3 * query[:, None]
    mask = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 1, 2, 2)

    torch.testing.assert_close(prior_mask(query, support, mask), mask, atol=1e-6, rtol=0)


def test_the_form_of_the_release_is_the_cosine_itself():
    # cosines with (3, 4): 0.6 with (2, 0) and 0.8 with (0, 1)
    query = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).view(1, 2, 2, 1).expand(1, 2, 2, 2)
    support = torch.tensor([3.0, 4.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 2, 2)

    prior = prior_mask(query, support, torch.ones(1, 1, 2, 2), normalize=False)

    expected = torch.tensor([[0.6, 0.6], [0.8, 0.8]]).view(1, 1, 2, 2)
    torch.testing.assert_close(prior, expected)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_equals_a_dense_reference(normalize: bool, positive: bool):
    for seed in range(3):
        query, support, mask = random_case(seed, positive=positive)
        torch.testing.assert_close(
            prior_mask(query, support, mask, normalize),
            dense_reference(query, support, mask[..., ::4, ::4], normalize),
            atol=1e-5,
            rtol=0,
        )


def test_a_full_mask_leaves_negative_similarities_as_they_are():
    query = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    mask = torch.ones(1, 1, 2, 2)
    assert prior_mask(query, -query[:, None], mask, normalize=False).max() < -0.99
    mask[0, 0, 1, 1] = 0
    assert prior_mask(query, -query[:, None], mask, normalize=False).abs().max() == 0


def test_stays_between_zero_and_one():
    query, support, mask = random_case(7)
    prior = prior_mask(query, support[:, :1], mask[:, :1])
    torch.testing.assert_close(prior.flatten(1).amin(1), torch.zeros(2))
    torch.testing.assert_close(prior.flatten(1).amax(1), torch.ones(2), atol=1e-5, rtol=0)


def test_is_the_mean_over_shots_in_any_order():
    query, support, mask = random_case(2, shots=3)
    order = torch.tensor([2, 0, 1])
    shots = [prior_mask(query, support[:, k : k + 1], mask[:, k : k + 1]) for k in range(3)]
    prior = prior_mask(query, support, mask)
    torch.testing.assert_close(prior, torch.stack(shots).mean(0))
    torch.testing.assert_close(prior, prior_mask(query, support[:, order], mask[:, order]))


@pytest.mark.parametrize("normalize", [True, False])
def test_an_empty_region_gives_zero(normalize: bool):
    query, support, mask = random_case(3, shots=1)
    mask[1] = 0
    prior = prior_mask(query, support, mask, normalize)
    assert prior[0].any()
    assert not prior[1].any()


def test_equal_features_everywhere_give_finite_values():
    prior = prior_mask(torch.ones(1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2))
    assert prior.isfinite().all()


def test_samples_do_not_mix():
    query, support, mask = random_case(4)
    batched = prior_mask(query, support, mask)
    for i in range(2):
        one = slice(i, i + 1)
        torch.testing.assert_close(batched[one], prior_mask(query[one], support[one], mask[one]))
