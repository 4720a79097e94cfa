"""People's own pictures and masks: read in whatever form they come, or refused in one line.

Pictures are upright as their EXIF data say, and masks belong to upright pictures.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.pixels import rgb_pixels, to_rgb, upright, upright_size, used_bits
from data.image_io import IGNORED

LARGE = 32_000_000
"""Pixels above which a picture is made smaller while it is read."""

HIGHEST_GREY_ID = 100
"""Grey masks of class ids are nearly black; brighter ones with several values are antialiased."""

_BAND = 256
"""Rows of the smaller picture that are made at a time."""


@dataclass(frozen=True)
class Photo:
    """A picture to look for something in."""

    pixels: np.ndarray
    """H x W x 3 uint8 RGB; a picture above LARGE is smaller than its file."""
    size: tuple[int, int]
    """Height and width of the file's picture."""


@dataclass(frozen=True)
class Reference:
    """A labelled picture."""

    pixels: np.ndarray
    """H x W x 3 uint8 RGB."""
    masks: dict[int, np.ndarray]
    """Class id -> H x W bool, never empty; 1 where the mask has no ids but only an inside."""


def read_photo(path: Path, large: int = LARGE) -> Photo:
    """Read a picture of any kind that Pillow knows; of several frames the first.

    Args:
        large: the number of pixels above which it is made smaller on the way: a JPEG already
            while it is decoded, others in bands of rows.

    Raises:
        UsageError: the file is missing, broken, or of floating-point samples.
    """
    with _opened(path) as stored:
        size = upright_size(stored)
        factor = _reduction(stored, large)
        if factor > 1:
            stored.draft(stored.mode, (stored.width // factor, stored.height // factor))
            factor = _reduction(stored, large)
        return Photo(rgb_pixels(stored) if factor == 1 else _reduced(stored, factor), size)


def read_reference(image: Path, mask: Path, large: int = LARGE) -> Reference:
    """Read a labelled picture.

    The mask may be black and white, of values 0 and 1, of class ids with a palette or nearly black
    without one, or a picture that is transparent outside the object. With a palette the id 255
    marks nothing, if there are other ids.

    Raises:
        UsageError: a file is missing or broken, or the mask is antialiased, coloured, empty or of
            another size than the picture.
    """
    photo = read_photo(image, large)
    with _opened(mask) as stored:
        size = (stored.height, stored.width)
        if size != photo.size:
            raise UsageError(
                f"mask {mask} is {size[1]} x {size[0]} pixels, but its picture {image} is "
                f"{photo.size[1]} x {photo.size[0]} (upright)"
            )
        values, ids = _class_values(stored, mask)
    if not ids:
        raise UsageError(f"empty mask: {mask} marks no pixel")
    rows, columns = (
        np.arange(small) * full // small
        for small, full in zip(photo.pixels.shape[:2], size, strict=True)
    )
    smaller = values if size == photo.pixels.shape[:2] else values[np.ix_(rows, columns)]
    masks = {class_id: smaller == value for value, class_id in ids.items()}
    if vanished := [class_id for class_id, marked in masks.items() if not marked.any()]:
        raise UsageError(f"mask {mask} marks too few pixels of class {vanished[0]} to be seen")
    return Reference(photo.pixels, masks)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as stored:
            yield stored
    except FileNotFoundError:
        raise UsageError(f"no such image: {path}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read the image {path}: {error}") from None


def _reduction(stored: Image.Image, large: int) -> int:
    """By how much both sides have to be divided."""
    return math.ceil(math.sqrt(stored.width * stored.height / large))


def _reduced(stored: Image.Image, factor: int) -> np.ndarray:
    """The picture's means of factor x factor pixels, made band by band."""
    stored.load()
    bits = used_bits(stored)
    size = (math.ceil(stored.width / factor), math.ceil(stored.height / factor))
    small = Image.new("RGB", size)
    for top in range(0, size[1], _BAND):
        bottom = min(stored.height, (top + _BAND) * factor)
        band = stored.crop((0, top * factor, stored.width, bottom))
        small.paste(to_rgb(band, bits).reduce(factor), (0, top))
    return np.asarray(upright(small, stored))


def _class_values(stored: Image.Image, path: Path) -> tuple[np.ndarray, dict[int, int]]:
    """A mask's values, H x W, and which of them are which class ids."""
    if stored.mode == "P" and not _is_grey_ramp(stored):
        values = np.asarray(stored)
        ids = [int(value) for value in np.unique(values) if value]
        if ids == [IGNORED]:
            return values, {IGNORED: 1}
        return values, {value: value for value in ids if value != IGNORED}

    values = _grey_values(stored, path)
    ids = [int(value) for value in np.unique(values) if value]
    if len(ids) == 1 and ids[0] > HIGHEST_GREY_ID:
        return values, {ids[0]: 1}
    if any(value > HIGHEST_GREY_ID for value in ids):
        raise UsageError(
            f"mask {path} has {len(ids)} shades up to {ids[-1]}: antialiased or compressed? "
            "Save it as PNG with 0 and 255 only, or class ids with a palette"
        )
    return values, {value: value for value in ids}


def _is_grey_ramp(stored: Image.Image) -> bool:
    """Whether a palette image only shows shades of grey, and more than two of them."""
    used = [index for _, index in stored.getcolors()]
    palette = np.array(stored.getpalette("RGB")).reshape(-1, 3)
    colours = palette[[index for index in used if index < len(palette)]]
    return len(used) > 2 and bool((colours == colours[:, :1]).all())


def _grey_values(stored: Image.Image, path: Path) -> np.ndarray:
    """A mask's shades of grey, or its opacity if it is transparent anywhere; H x W."""
    if stored.mode in ("1", "L") or stored.mode.startswith("I"):
        return np.asarray(stored).astype(np.uint32 if stored.mode.startswith("I") else np.uint8)
    if stored.mode in ("LA", "PA", "RGBA"):
        opacity = np.asarray(stored.getchannel("A"))
        if opacity.min() < 255:
            return opacity
    colours = np.asarray(stored.convert("RGB"))
    if (colours == colours[..., :1]).all():
        return colours[..., 0]
    codes = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    kinds = np.unique(codes)
    if len(kinds) > 2 or (len(kinds) == 2 and kinds[0] != 0):
        raise UsageError(
            f"mask {path} has {len(kinds)} colours: save it as black and white, or as class ids "
            "with a palette"
        )
    return np.where(codes > 0, 255, 0).astype(np.uint8)
