"""How pictures come to a network's square and back."""

import numpy as np
import pytest
import torch

from common.geometry import Geometry
from common.pixels import normalize


def test_a_padded_picture_keeps_its_proportions_and_ends_in_zeros():
    geometry = Geometry(8, padded=True)
    pixels = np.full((3, 6, 3), 200, dtype=np.uint8)
    assert geometry.content((3, 6)) == (4, 8)
    image = geometry.image(pixels)
    torch.testing.assert_close(image[:, :4], normalize(pixels[:1, :1]).expand(3, 4, 8))
    assert not image[:, 4:].any()
    assert geometry.padding((3, 6)).tolist() == [[False] * 8] * 4 + [[True] * 8] * 4


@pytest.mark.parametrize(
    ("size", "content"), [((1, 1000), (1, 8)), ((5, 5), (8, 8)), ((9, 4), (8, 4))]
)
def test_the_longer_side_fills_the_square(size, content):
    assert Geometry(8, padded=True).content(size) == content
    assert Geometry(8).content(size) == (8, 8)


@pytest.mark.parametrize("padded", [True, False])
def test_a_picture_of_its_size_in_the_square_is_taken_as_it_is(padded):
    geometry = Geometry(16, padded)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    once = geometry.picture(pixels)
    assert np.array_equal(geometry.picture(once), once)
    assert once.shape[:2] == geometry.content((30, 44))


@pytest.mark.parametrize("padded", [True, False])
def test_no_point_is_lost_and_none_is_added(padded):
    mark = np.zeros((40, 80), dtype=bool)
    mark[39, 79] = mark[0, 0] = mark[21, 33] = True
    geometry = Geometry(8, padded)
    marked = geometry.mark(mark, "point")
    rows = geometry.content(mark.shape)[0]
    assert marked.nonzero().tolist() == [[0, 0], [21 * rows // 40, 3], [rows - 1, 7]]
    assert geometry.mark(mark, "mask")[0, 0] == 1  # nearest takes the corner, and so not empty


def test_maps_are_cropped_to_what_shows_the_picture():
    maps = torch.arange(64.0).view(1, 8, 8)
    assert Geometry(8, padded=True).crop(maps, (4, 2)).shape == (1, 8, 4)
    assert torch.equal(Geometry(8).crop(maps, (4, 2)), maps)
