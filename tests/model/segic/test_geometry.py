import numpy as np
import pytest
import torch

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.segic.geometry import SegicGeometry

SQUARE = SegicGeometry(8, padded=True)


def test_long_sides_are_rounded_down():
    full = SegicGeometry(896, padded=True)
    assert full.content((612, 612)) == (895, 895)  # 612 * (896 / 612) is below 896
    assert full.content((480, 640)) == (672, 896)
    assert full.content((1, 4000)) == (1, 896)  # a narrow side never vanishes


def test_pixels_are_sampled_between_neighbours_without_a_filter():
    # 16 columns to 8: pixel x lies between columns 2x and 2x + 1; one bright column in each pair
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, ::2] = 255
    image = SQUARE.image(pixels)
    grey = image * torch.tensor(IMAGE_STD).view(3, 1, 1) + torch.tensor(IMAGE_MEAN).view(3, 1, 1)
    torch.testing.assert_close(grey, torch.full((3, 8, 8), 0.5))
    # 24 columns to 8: pixel x is column 3x + 1 alone, whatever its neighbours say
    pixels = np.zeros((24, 24, 3), dtype=np.uint8)
    pixels[1::3, 1::3] = 255
    assert (SQUARE.image(pixels) > 2).all()


def test_what_is_not_the_picture_is_0_after_normalisation():
    image = SQUARE.image(np.full((4, 16, 3), 200, dtype=np.uint8))
    assert (image[:, :2] != 0).all()
    assert (image[:, 2:] == 0).all()


@pytest.mark.parametrize("marked", [1, True])
def test_a_mask_is_inside_where_more_than_half_of_what_is_sampled_is(marked):
    mask = np.zeros((16, 16), dtype=type(marked))
    mask[:, :5] = marked
    small = SQUARE.mask(mask)
    assert small[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]  # columns 4 and 5: just half
    assert set(small.unique().tolist()) == {0, 1}


def test_a_mask_of_one_pixel_is_kept_where_asked():
    mask = np.zeros((64, 64), dtype=bool)
    mask[9, 17] = True
    assert not SQUARE.mask(mask).any()
    assert SQUARE.mark(mask).nonzero().tolist() == [[1, 2]]


def test_what_comes_back_is_the_pictures_part():
    maps = torch.arange(64.0).view(8, 8)
    assert torch.equal(SQUARE.crop(maps, (16, 8)), maps[:, :4])
