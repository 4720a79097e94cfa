import numpy as np
import pytest
from PIL import Image

from common.pixels import rgb_pixels, upright_size

ORIENTATION = 0x0112


def test_rgb_arrays_pass_as_they_are():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert rgb_pixels(image) is image


def test_grey_becomes_three_equal_channels():
    grey = np.array([[0, 7], [200, 255]], dtype=np.uint8)
    expected = np.repeat(grey[..., None], 3, axis=2)
    for picture in (grey, grey[..., None], Image.fromarray(grey)):
        assert np.array_equal(rgb_pixels(picture), expected)


@pytest.mark.parametrize(("bits", "highest"), [(16, 65535), (12, 4095), (8, 200)])
def test_of_many_bits_the_highest_eight_in_use_are_kept(bits, highest):
    grey = np.array([[0, highest // 2], [highest // 4, highest]], dtype=np.uint16)
    found = rgb_pixels(grey)[..., 0]
    assert np.array_equal(found, grey >> max(0, bits - 8))


def test_palette_images_get_their_colours():
    picture = Image.fromarray(np.array([[0, 1]], dtype=np.uint8))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    assert rgb_pixels(picture).tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_transparent_places_become_white():
    rgba = np.array([[[9, 9, 9, 255], [9, 9, 9, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    assert rgb_pixels(rgba)[0, :, 0].tolist() == [9, 255, 204]


def test_exif_orientation_is_obeyed():
    stored = Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))
    stored.getexif()[ORIENTATION] = 6  # to be turned clockwise by a quarter
    assert np.array_equal(rgb_pixels(stored), np.rot90(np.asarray(stored), -1))
    assert upright_size(stored) == (3, 2)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((2, 2, 3)), np.zeros((2, 2, 2), np.uint8), Image.new("F", (2, 2))],
)
def test_floating_point_and_odd_arrays_are_refused(picture):
    with pytest.raises(ValueError, match=r"uint8|8 or 16 bits"):
        rgb_pixels(picture)
