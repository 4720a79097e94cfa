"""Picture files of any kind, read in one way: as RGB pixels, or refused in one line.

Nothing heavy is imported here, so that worker processes start quickly.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from common.containers import lacks_rows
from common.errors import UsageError

Size = tuple[int, int]
"""Height and width."""

register_heif_opener()  # telephones save HEIC; AVIF and JPEG 2000 Pillow knows itself

IGNORED = 255
"""The mask value of pixels that count neither in the loss nor in the metric."""

LARGE = 32_000_000
"""Pixels above which people's photographs are made smaller while they are read."""

UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, ArithmeticError),
    *(MemoryError, struct.error, Image.DecompressionBombError),
)
"""What the decoders of Pillow and its plug-ins raise for a broken file."""

PAPER = (255, 255, 255)
"""The colour behind transparent places."""

_ORIENTATION, _AS_STORED = 0x0112, 1
"""The EXIF tag that says how a stored picture has to be turned, and its value for not at all."""
_BAND = 256
"""Rows of a reduced picture that are made at a time."""


@dataclass(frozen=True)
class Photo:
    """A picture that may have been made smaller while it was read."""

    pixels: np.ndarray
    """H x W x 3 uint8 RGB."""
    size: tuple[int, int]
    """Height and width of the picture in the file."""


@contextmanager
def open_image(path: Path, kind: str = "image", whole: bool = True) -> Iterator[Image.Image]:
    """Open an image file; its pixels are decoded when they are first used.

    Args:
        kind: what the messages call it.
        whole: whether its pixels are wanted, so that a PNG has to have all of its rows.

    Raises:
        UsageError: the file is missing or broken, or holds something else; also within the block.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would let everybody wait for ever
            raise UsageError(f"cannot read the {kind} {path}: it is no file")
        with Image.open(path) as stored:
            if whole and stored.format == "PNG" and _lacks_rows(path):
                raise UsageError(f"cannot read the {kind} {path}: it is cut short")
            yield stored
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"no such {kind}: {path}") from None
    except UNREADABLE as error:
        raise UsageError(f"cannot read the {kind} {path}: {error}") from None


def read_image(path: Path, upright: bool = True, largest: int | None = None) -> np.ndarray:
    """Read a picture of any kind that Pillow knows, of several frames the first, as `rgb_pixels`.

    Args:
        upright: turn it as its EXIF data say; False where masks were drawn over the pixels as they
            are stored, which is so in benchmarks.
        largest: make a picture of more pixels smaller, by a whole number and without ever holding
            all of it as RGB: a JPEG already while it is decoded, others in bands of rows.

    Returns:
        H x W x 3 uint8.

    Raises:
        UsageError: the file is missing, broken, or of floating-point samples.
    """
    with open_image(path) as stored:
        return _pixels(stored, upright, largest)


def read_mask(path: Path) -> np.ndarray:
    """Read a class mask as H x W uint8; of a palette image the indices, not the colours.

    Raises:
        UsageError: the file is missing, cannot be decoded, or holds colours.
    """
    with open_image(path, "mask") as mask:
        if mask.mode not in ("P", "L", "1"):
            raise UsageError(
                f"mask {path} holds {mask.mode} colours: a class mask is a palette or "
                "grey image of class ids"
            )
        return np.array(mask, dtype=np.uint8)


def read_wide_mask(path: Path) -> np.ndarray:
    """Read a mask of more classes than `read_mask` holds, H x W uint16: a grey image of 16 bits.

    Raises:
        UsageError: the file is missing, cannot be decoded, or holds something else.
    """
    with open_image(path, "mask") as mask:
        if not mask.mode.startswith("I;16"):
            raise UsageError(f"mask {path} holds {mask.mode} values, not grey ones of 16 bits")
        return np.array(mask, dtype=np.uint16)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width from a picture's header, without decoding its pixels.

    Raises:
        UsageError: the file is missing or is no image.
    """
    with open_image(path, whole=False) as image:
        return image.height, image.width


def read_photo(path: Path, largest: int = LARGE) -> Photo:
    """`read_image` where the file's own size is wanted too."""
    with open_image(path) as stored:
        size = upright_size(stored)
        return Photo(_pixels(stored, True, largest), size)


def upright_size(stored: Image.Image) -> tuple[int, int]:
    """Height and width of a stored picture once it is upright."""
    turned = stored.getexif().get(_ORIENTATION, _AS_STORED) in (5, 6, 7, 8)
    return (stored.width, stored.height) if turned else (stored.height, stored.width)


def rgb_pixels(picture: Image.Image | np.ndarray) -> np.ndarray:
    """A picture's colours as H x W x 3 uint8, upright as its EXIF data say.

    Grey and palette pictures get colours, transparent places become white, and of samples of more
    than 8 bits the highest 8 that the picture uses are kept.

    Args:
        picture: any Pillow image, or an array: H x W or H x W x 1, 3 or 4 of uint8, or H x W of
            uint16.

    Raises:
        ValueError: an array of another kind, or an image of floating-point samples.
    """
    if isinstance(picture, np.ndarray):
        if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
            return picture
        picture = _from_array(picture)
    return np.asarray(_turned(_to_rgb(picture, _used_bits(picture)), picture))


def _lacks_rows(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return lacks_rows(file)
    except (OSError, struct.error, zlib.error, KeyError):
        return False  # broken in another way, of which the decoder tells


def _pixels(stored: Image.Image, upright: bool, largest: int | None) -> np.ndarray:
    factor = _reduction(stored, largest)
    if factor > 1:
        stored.draft(stored.mode, (stored.width // factor, stored.height // factor))
        factor = _reduction(stored, largest)
    bits = _used_bits(stored)
    pixels = _reduced(stored, factor, bits) if factor > 1 else _to_rgb(stored, bits)
    return np.array(_turned(pixels, stored) if upright else pixels)


def _used_bits(picture: Image.Image) -> int:
    """How many bits the samples of a grey image of more than 8 bits use; else 8.

    Raises:
        ValueError: the samples are floating-point or negative numbers.
    """
    if not picture.mode.startswith(("I", "F")):
        return 8
    low, high = picture.getextrema()
    if picture.mode == "F" or low < 0:
        raise ValueError("floating-point or negative samples: save the picture with 8 or 16 bits")
    return max(8, int(high).bit_length())


def _to_rgb(picture: Image.Image, bits: int) -> Image.Image:
    """The picture, or a part of it, in the mode RGB; `bits` are those of the whole picture."""
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        samples = np.asarray(picture).astype(np.uint32) >> (bits - 8)
        return Image.fromarray(samples.astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (*PAPER, 255))
        picture = Image.alpha_composite(paper, picture)
    return picture.convert("RGB")


def _turned(pixels: Image.Image, stored: Image.Image) -> Image.Image:
    """Turn pixels as the EXIF data of the stored picture say."""
    orientation = stored.getexif().get(_ORIENTATION, _AS_STORED)
    if orientation == _AS_STORED:
        return pixels
    pixels.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(pixels)


def _reduction(stored: Image.Image, largest: int | None) -> int:
    """By how much both sides have to be divided."""
    return math.ceil(math.sqrt(stored.width * stored.height / largest)) if largest else 1


def _reduced(stored: Image.Image, factor: int, bits: int) -> Image.Image:
    """The picture's means of factor x factor pixels, made band by band."""
    size = (math.ceil(stored.width / factor), math.ceil(stored.height / factor))
    small = Image.new("RGB", size)
    for top in range(0, size[1], _BAND):
        bottom = min(stored.height, (top + _BAND) * factor)
        band = stored.crop((0, top * factor, stored.width, bottom))
        small.paste(_to_rgb(band, bits).reduce(factor), (0, top))
    return small


def _from_array(picture: np.ndarray) -> Image.Image:
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    grey = picture.ndim == 2 and picture.dtype in (np.uint8, np.uint16)
    transparent = picture.ndim == 3 and picture.shape[2] == 4 and picture.dtype == np.uint8
    if not (grey or transparent):
        raise ValueError(
            "a picture is H x W x 3 or 4 of uint8, or H x W of uint8 or uint16, not "
            f"{picture.shape} of {picture.dtype}"
        )
    return Image.fromarray(picture)
