import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from labelling.references import read_reference

GREY = np.array([[0, 100, 200], [255, 50, 150]], dtype=np.uint8)
INSIDE = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)
COLOURED = [0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200]


@pytest.fixture
def photo(tmp_path):
    """A picture of 3 x 2 pixels, the size of the masks here."""
    path = tmp_path / "photo.png"
    Image.fromarray(GREY).save(path)
    return path


def save_mask(tmp_path, values, palette=None):
    path = tmp_path / "mask.png"
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(path)
    return path


def test_what_only_marks_an_inside_is_class_1(tmp_path, photo):
    opaque = np.dstack([np.repeat(GREY[..., None], 3, axis=2), INSIDE * 255])
    red = INSIDE[..., None] * np.array([255, 0, 0])
    white = INSIDE[..., None] * np.array([255, 255, 255])
    for values in (INSIDE, INSIDE * 255, opaque, red, white):
        path = save_mask(tmp_path, values)
        masks = read_reference(photo, path).masks
        assert list(masks) == [1]
        assert np.array_equal(masks[1], INSIDE)


def test_a_mask_of_one_bit_and_one_of_sixteen(tmp_path, photo):
    for number, image in enumerate(
        (Image.fromarray(INSIDE), Image.fromarray(INSIDE.astype(np.uint16) * 65535))
    ):
        image.save(tmp_path / f"{number}.png")
        assert np.array_equal(read_reference(photo, tmp_path / f"{number}.png").masks[1], INSIDE)


@pytest.mark.parametrize("palette", [COLOURED, None], ids=["palette", "grey"])
def test_ids_are_classes(tmp_path, photo, palette):
    values = [[0, 1, 3], [3, 0, 0]]
    masks = read_reference(photo, save_mask(tmp_path, values, palette=palette)).masks
    assert sorted(masks) == [1, 3]
    assert masks[3].tolist() == [[False, False, True], [True, False, False]]


def test_with_a_palette_255_marks_nothing_unless_it_is_alone(tmp_path, photo):
    whole = COLOURED + [7, 8, 9] * 252
    masks = read_reference(photo, save_mask(tmp_path, [[0, 2, 255]] * 2, palette=whole)).masks
    assert list(masks) == [2]
    masks = read_reference(photo, save_mask(tmp_path, [[0, 255, 0]] * 2, palette=whole)).masks
    assert list(masks) == [1]


RAMP = [level for index in range(256) for level in (index, index, index)]


@pytest.mark.parametrize(
    ("values", "palette", "message"),
    [
        ([[0, 128, 255], [0, 60, 255]], None, "antialiased"),
        ([[0, 128, 255], [0, 60, 255]], RAMP, "antialiased"),
        ([[0, 0, 0], [0, 0, 0]], None, "empty mask"),
        ([[0, 0], [0, 1]], None, "2 x 2 pixels, but its picture .* 3 x 2"),
        (np.arange(18).reshape(2, 3, 3) * 9, None, "6 colours"),
        (np.dstack([GREY] * 3 + [GREY]), None, "antialiased"),
    ],
)
def test_masks_that_say_nothing_clear_are_refused_in_one_line(
    tmp_path, photo, values, palette, message
):
    path = save_mask(tmp_path, values, palette=palette)
    with pytest.raises(UsageError, match=message) as refusal:
        read_reference(photo, path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_mask_of_a_huge_picture_shrinks_with_it(tmp_path):
    picture, mask = tmp_path / "huge.png", tmp_path / "mask.png"
    marked = np.zeros((400, 600), dtype=np.uint8)
    marked[100:300, :300] = 255
    Image.new("RGB", (600, 400)).save(picture)
    Image.fromarray(marked).save(mask)
    found = read_reference(picture, mask, largest=6000)
    assert found.pixels.shape[:2] == found.masks[1].shape
    assert found.masks[1].mean() == pytest.approx(0.25, abs=0.02)
