"""Image and mask files: read, and refused with a clear word where they cannot be.

Nothing heavy is imported here, so that worker processes start quickly.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError

IGNORED = 255
"""The mask value of pixels that count neither in the loss nor in the metric."""

_BROKEN_FILE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are cut off or hold something else."""


def read_image(path: Path) -> np.ndarray:
    """Read an image as H x W x 3 uint8 RGB.

    Raises:
        UsageError: the file is missing or cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise UsageError(f"missing image: {path}") from None
    except _BROKEN_FILE as error:
        raise UsageError(f"corrupt image {path}: {error}") from None


def read_mask(path: Path) -> np.ndarray:
    """Read a class mask as H x W uint8; of a palette image the indices, not the colours.

    Raises:
        UsageError: the file is missing, cannot be decoded, or holds colours.
    """
    try:
        with Image.open(path) as mask:
            if mask.mode not in ("P", "L", "1"):
                raise UsageError(
                    f"mask {path} holds {mask.mode} colours: a class mask is a palette or "
                    "grey image of class ids"
                )
            return np.array(mask, dtype=np.uint8)
    except FileNotFoundError:
        raise UsageError(f"missing mask: {path}") from None
    except _BROKEN_FILE as error:
        raise UsageError(f"corrupt mask {path}: {error}") from None


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) from an image's header, without decoding its pixels.

    Raises:
        UsageError: the file is missing or is no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise UsageError(f"missing image: {path}") from None
    except _BROKEN_FILE as error:
        raise UsageError(f"corrupt image {path}: {error}") from None
