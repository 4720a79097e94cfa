import pytest
import torch
from torch.nn import functional as F

from model.segic.features import Entities, SegicSupport
from model.segic.hints import (
    Correspondence,
    highest_places,
    mask_cells,
    mask_prototypes,
    reference_direction,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_prototype_is_the_mean_of_the_cells_inside():
    features = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).view(1, 1, 2, 2)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 1  # the upper cells
    assert mask_prototypes(features, mask).tolist() == [[[1.5]]]


def test_a_prototype_of_nothing_is_0():
    assert mask_prototypes(random(1, 3, 2, 2), torch.zeros(1, 1, 4, 4)).tolist() == [[[0.0] * 3]]


def test_half_of_a_cell_is_not_inside():
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0] = 1  # a cell of 2 x 2 pixels is sampled in its middle: between both columns
    assert not mask_cells(mask, 2).any()
    mask[..., 0, 1] = 1
    assert mask_cells(mask, 2)[0, 0].tolist() == [[1, 0], [0, 0]]


def test_a_small_mask_counts_in_every_cell_that_it_touches_unless_it_may_vanish():
    mask = torch.zeros(1, 2, 8, 8)
    mask[0, 0, 3:5, 3] = 1  # touches the upper and the lower left cell; what is sampled is at 1.5
    mask[0, 1, :4, :4] = 1
    assert not mask_cells(mask, 2)[0, 0].any()
    kept = mask_cells(mask, 2, keep_small=True)[0]
    assert kept[0].tolist() == [[1, 0], [1, 0]]
    assert kept[1].tolist() == [[1, 0], [0, 0]]  # what is large enough stays as it was


@pytest.mark.parametrize("correspondence", ["mean_feature", "dense"])
def test_maps_are_those_of_the_definition(correspondence: str):
    """By the long way: features enlarged, then compared, each with the mean or with each patch."""
    query, reference = random(1, 5, 4, 4), random(1, 1, 5, 4, 4, seed=1)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8, :8] = 1
    large = F.interpolate(query, (4, 4), mode="bilinear", align_corners=False)[0].flatten(1)
    inside = reference[0, 0, :, :2, :2].flatten(1)  # 5 x 4 patches
    if correspondence == "mean_feature":
        inside = inside.mean(1, keepdim=True)
    cosines = F.cosine_similarity(large[:, :, None], inside[:, None], dim=0).mean(1)
    expected = F.interpolate(
        cosines.view(1, 1, 4, 4), (16, 16), mode="bilinear", align_corners=False
    )[0]

    _, direction = reference_direction(reference, mask, correspondence)
    found = Correspondence(query, direction[:, None], 16).maps(torch.tensor([0]))

    torch.testing.assert_close(found, expected)


def test_the_two_correspondences_differ():
    reference, mask = random(1, 1, 5, 4, 4), torch.ones(1, 1, 16, 16)
    (_, one), (_, other) = (
        reference_direction(reference, mask, name) for name in ("mean_feature", "dense")
    )
    assert one.norm() == pytest.approx(1)
    assert other.norm() < 0.9  # patches that disagree


def test_features_are_normalised_after_they_are_enlarged():
    """Between a long and a short vector lies one that is nearer to the long one."""
    query = torch.zeros(1, 2, 1, 2)
    query[0, 0, 0, 0], query[0, 1, 0, 1] = 9.0, 1.0
    query = query.expand(1, 2, 2, 2).contiguous()
    direction = torch.tensor([[[1.0, 0.0]]])
    maps = Correspondence(query, direction, 16).maps(torch.tensor([0]))[0]
    # at M/4 = 4 places, of which the third lies at a quarter of the first: (2.25, 0.75)
    expected = 2.25 / (2.25**2 + 0.75**2) ** 0.5
    between = F.interpolate(
        torch.tensor([[[1.0, 6.75 / (6.75**2 + 0.25**2) ** 0.5, expected, 0.0]]]), 16, mode="linear"
    )[0, 0]
    torch.testing.assert_close(maps[0], between)


def test_half_precision_rounds_neither_prototypes_nor_cosines():
    query, mask = random(1, 64, 4, 4), torch.ones(1, 1, 16, 16)
    found = {}
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            prototypes, direction = reference_direction(query[:, None], mask, "mean_feature")
            maps = Correspondence(query, direction[:, None], 16).maps(torch.tensor([0]))
        found[half] = prototypes, maps
    for plain, rounded in zip(*found.values(), strict=True):
        torch.testing.assert_close(plain, rounded)


def test_rows_are_looked_for_in_their_own_images():
    query, directions = random(2, 5, 4, 4), F.normalize(random(2, 3, 5, seed=2), dim=2)
    together = Correspondence(query, directions, 16).maps(torch.arange(6))
    for image in range(2):
        alone = Correspondence(query[image : image + 1], directions[image : image + 1], 16)
        rows = slice(3 * image, 3 * image + 3)
        torch.testing.assert_close(together[rows], alone.maps(torch.arange(3)))


def test_the_highest_place_is_x_and_y_and_the_first_of_a_constant_map():
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 3] = 1
    assert highest_places(maps).tolist() == [[3, 1], [0, 0]]


def test_entities_keep_the_order_of_their_shots():
    supports = [
        SegicSupport(torch.full((1, shots, 2), float(n)), torch.zeros(1, 2), torch.zeros(1, 3))
        for n, shots in enumerate((2, 1, 3))
    ]
    entities = Entities.of(supports)
    assert len(entities) == 3
    assert entities.owners.tolist() == [0, 0, 1, 2, 2, 2]
    assert entities.prototypes[0, :, 0].tolist() == [0, 0, 1, 2, 2, 2]
