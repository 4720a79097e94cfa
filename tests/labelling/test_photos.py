import cv2
import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from labelling.photos import read_photo, read_reference

ORIENTATION = 0x0112
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


@pytest.mark.parametrize(
    "name", ["grey.png", "grey16.png", "grey16.tiff", "grey.webp", "grey.bmp", "grey.tif"]
)
def test_formats_and_depths_show_the_same_picture(tmp_path, name):
    path = tmp_path / name
    if "16" in name:
        Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(GREY).convert("RGB").save(path, lossless=True)
    found = read_photo(path)
    assert found.size == (2, 3)
    assert np.array_equal(found.pixels, np.repeat(GREY[..., None], 3, axis=2))


def test_sixteen_bit_colours_lose_their_lower_half(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert np.array_equal(read_photo(tmp_path / "deep.png").pixels, deep >> 8)


def test_a_turned_picture_is_read_upright(tmp_path):
    path = tmp_path / "turned.png"
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[ORIENTATION] = 8  # to be turned counter-clockwise by a quarter
    image.save(path, exif=exif)
    found = read_photo(path)
    assert found.size == (3, 2)
    assert np.array_equal(found.pixels[..., 0], np.rot90(GREY))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_huge_picture_is_made_smaller_while_it_is_read(tmp_path, suffix, turned):
    path = tmp_path / f"huge.{suffix}"
    # four quarters of one colour each
    colours = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 0]]], dtype=np.uint8)
    image = Image.fromarray(colours).resize((1200, 800), Image.Resampling.NEAREST)
    exif = image.getexif()
    exif[ORIENTATION] = 6 if turned else 1
    image.save(path, exif=exif, quality=95, subsampling=0)

    found = read_photo(path, large=10_000)

    expected = np.rot90(colours, -1) if turned else colours
    assert found.size == ((1200, 800) if turned else (800, 1200))
    height, width = found.pixels.shape[:2]
    assert height * width <= 10_000
    assert height / width == pytest.approx(1.5 if turned else 1 / 1.5, rel=0.03)
    quarters = found.pixels[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]
    assert np.abs(quarters.astype(int) - expected).max() <= 6


def test_a_huge_grey_picture_keeps_one_scale(tmp_path):
    path = tmp_path / "huge.png"
    ramp = np.linspace(0, 4095, 600 * 4, dtype=np.uint16).reshape(600, 4).repeat(8, axis=1)
    Image.fromarray(ramp).save(path)
    found = read_photo(path, large=600 * 32 // 4).pixels[..., 0].astype(int)
    assert found.shape == (300, 16)
    assert (np.diff(found[:, 0]) >= 0).all()
    assert found[-1, 0] == 255


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no image" * 99])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.jpg"):
        read_photo(path)


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UsageError, match=r"cut\.png"):
        read_photo(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no such image: .*absent\.png"):
        read_photo(tmp_path / "absent.png")


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
    found = read_reference(picture, mask, large=6000)
    assert found.pixels.shape[:2] == found.masks[1].shape
    assert found.masks[1].mean() == pytest.approx(0.25, abs=0.02)
