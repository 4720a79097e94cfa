import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.image_io import image_size, read_image, read_mask


def test_a_grey_image_is_read_as_rgb(tmp_path):
    Image.new("L", (3, 2), 7).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.full((2, 3, 3), 7))
    assert image_size(tmp_path / "grey.png") == (2, 3)


def test_a_palette_mask_gives_its_indices_not_its_colours(tmp_path):
    ids = np.array([[0, 1], [20, 255]], dtype=np.uint8)
    mask = Image.fromarray(ids, "P")
    mask.putpalette([255 - i % 256 for i in range(768)])
    mask.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), ids)


def test_files_that_cannot_be_used_are_named(tmp_path):
    colours, cut = tmp_path / "colours.png", tmp_path / "cut.jpg"
    Image.new("RGB", (4, 4)).save(colours)
    with pytest.raises(UsageError, match=r"colours\.png holds RGB colours"):
        read_mask(colours)
    with pytest.raises(UsageError, match=r"missing image: .*nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:1500])
    assert image_size(cut) == (64, 64)  # the header is whole
    with pytest.raises(UsageError, match=r"corrupt image .*cut\.jpg"):
        read_image(cut)
    cut.write_text("not an image")
    with pytest.raises(UsageError, match=r"corrupt mask .*cut\.jpg"):
        read_mask(cut)
