import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.images import image_size, open_image, read_image, read_photo, rgb_pixels, upright_size

ORIENTATION = 0x0112
GREY = np.array([[0, 100, 200], [255, 50, 150]], dtype=np.uint8)


@pytest.mark.parametrize(
    "name", ["grey.png", "grey16.png", "grey16.tiff", "grey.webp", "grey.bmp", "grey.tif"]
)
def test_formats_and_depths_show_the_same_picture(tmp_path, name):
    path = tmp_path / name
    if "16" in name:
        Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(GREY).convert("RGB").save(path, lossless=True)
    assert np.array_equal(read_image(path), np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize(
    "suffix",
    ["heic", "heif", "hif", "avif", "gif", "jp2", "j2k", "jpx", "jfif", "jpe", "jpg", "pgm"],
)
def test_files_of_telephones_and_old_programs_are_read(tmp_path, suffix):
    path = tmp_path / f"photo.{suffix}"
    colours = np.array([[[240, 10, 10], [10, 240, 10]], [[10, 10, 240], [20, 20, 20]]], np.uint8)
    photo = Image.fromarray(colours).resize((64, 48), Image.Resampling.NEAREST)
    exif = photo.getexif()
    exif[ORIENTATION] = 6
    can_turn = suffix in ("heic", "heif", "hif", "avif", "jfif", "jpe", "jpg")
    stored = photo.convert("L") if suffix == "pgm" else photo
    kind = {"hif": "HEIF", "j2k": "JPEG2000", "jpx": "JPEG2000"}.get(suffix)
    stored.save(path, kind, **({"exif": exif.tobytes()} if can_turn else {}))
    expected = np.array(stored.convert("RGB"))
    expected = np.rot90(expected, -1) if can_turn else expected

    found = read_photo(path)

    assert found.size == found.pixels.shape[:2] == expected.shape[:2]
    assert np.abs(found.pixels.astype(int) - expected).mean() < 8
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match=rf"cannot read the image .*photo\.{suffix}"):
        read_image(path)


def test_sixteen_bit_colours_lose_their_lower_half(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert np.array_equal(read_image(tmp_path / "deep.png"), deep >> 8)


def test_a_turned_picture_is_read_upright_or_as_it_is_stored(tmp_path):
    path = tmp_path / "turned.png"
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[ORIENTATION] = 8  # to be turned counter-clockwise by a quarter
    image.save(path, exif=exif)
    assert np.array_equal(read_image(path)[..., 0], np.rot90(GREY))
    assert np.array_equal(read_image(path, upright=False)[..., 0], GREY)


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

    photo = read_photo(path, largest=10_000)

    expected = np.rot90(colours, -1) if turned else colours
    assert photo.size == ((1200, 800) if turned else (800, 1200))
    found = read_image(path, largest=10_000)
    assert np.array_equal(found, photo.pixels)
    height, width = found.shape[:2]
    assert height * width <= 10_000
    assert height / width == pytest.approx(1.5 if turned else 1 / 1.5, rel=0.03)
    quarters = found[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]
    assert np.abs(quarters.astype(int) - expected).max() <= 6


def test_a_huge_grey_picture_keeps_one_scale(tmp_path):
    path = tmp_path / "huge.png"
    ramp = np.linspace(0, 4095, 600 * 4, dtype=np.uint16).reshape(600, 4).repeat(8, axis=1)
    Image.fromarray(ramp).save(path)
    found = read_image(path, largest=600 * 32 // 4)[..., 0].astype(int)
    assert found.shape == (300, 16)
    assert (np.diff(found[:, 0]) >= 0).all()
    assert found[-1, 0] == 255


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no image" * 99])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read the image .*broken\.jpg"):
        read_image(path)


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UsageError, match=r"cannot read the image .*cut\.png"):
        read_image(path)


def test_a_missing_file_is_named_as_what_it_is(tmp_path):
    with pytest.raises(UsageError, match=r"no such image: .*absent\.png"):
        read_image(tmp_path / "absent.png")
    with (
        pytest.raises(UsageError, match=r"no such mask: .*absent\.png"),
        open_image(tmp_path / "absent.png", "mask"),
    ):
        pass


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


def test_pillow_images_are_turned_as_their_exif_data_say():
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


def png(size: tuple[int, int], bits: int, colours: int, interlaced: int, data: bytes) -> bytes:
    """A PNG whose rows are given as they are before compression."""

    def chunk(name: bytes, content: bytes) -> bytes:
        whole = name + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", *size[::-1], bits, colours, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(3 * 16)) if colours == 3 else b""
    parts = [chunk(b"IHDR", header), palette, chunk(b"IDAT", zlib.compress(data))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "bits", "colours", "interlaced", "bytes_needed"),
    [
        ((10, 8), 8, 0, 0, 10 * 9),  # a byte for the filter, and one a pixel
        ((10, 8), 4, 3, 0, 10 * 5),
        ((3, 9), 1, 0, 0, 3 * 3),
        ((4, 5), 16, 6, 0, 4 * 41),
        ((8, 8), 8, 0, 1, 2 + 2 + 3 + 2 * 3 + 2 * 5 + 4 * 5 + 4 * 9),
        ((1, 1), 8, 2, 1, 4),  # the first pass has all
    ],
)
def test_a_png_without_its_last_rows_is_named(
    tmp_path, size, bits, colours, interlaced, bytes_needed
):
    """Its data end as they should: Pillow says nothing, and leaves the rest black."""
    path = tmp_path / "few.png"
    path.write_bytes(png(size, bits, colours, interlaced, bytes(bytes_needed)))
    assert read_image(path).shape == (*size, 3)
    path.write_bytes(png(size, bits, colours, interlaced, bytes(bytes_needed - 1)))
    with pytest.raises(UsageError, match=r"few\.png: (it is cut short|.*truncated)"):
        read_image(path)
    assert image_size(path) == size


def test_every_png_that_pillow_writes_has_its_rows(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"):
        picture = Image.fromarray(noise).convert("L" if mode == "I;16" else mode)
        picture.convert(mode).save(tmp_path / "picture.png")
        assert read_image(tmp_path / "picture.png").shape == noise.shape
