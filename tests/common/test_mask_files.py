import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.images import image_size, read_mask


def test_a_palette_mask_gives_its_indices_not_its_colours(tmp_path):
    ids = np.array([[0, 1], [20, 255]], dtype=np.uint8)
    mask = Image.fromarray(ids, "P")
    mask.putpalette([255 - i % 256 for i in range(768)])
    mask.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), ids)


def test_files_that_cannot_be_used_are_named(tmp_path):
    colours, broken = tmp_path / "colours.png", tmp_path / "broken.png"
    Image.new("RGB", (4, 4)).save(colours)
    with pytest.raises(UsageError, match=r"colours\.png holds RGB colours"):
        read_mask(colours)
    broken.write_text("not an image")
    with pytest.raises(UsageError, match=r"cannot read the mask .*broken\.png"):
        read_mask(broken)


def test_a_size_is_read_from_the_header_alone(tmp_path):
    cut = tmp_path / "cut.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:1000])
    assert image_size(cut) == (64, 48)
    with pytest.raises(UsageError, match=r"no such image: .*nowhere\.jpg"):
        image_size(tmp_path / "nowhere.jpg")
