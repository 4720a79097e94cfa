"""Images and masks: read from files, and turned into the tensors the networks expect."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from common.errors import UsageError

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
IGNORED = 255
"""The mask value of pixels that count neither in the loss nor in the metric."""

_BROKEN_FILE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are cut off or hold something else."""


def normalize(image: np.ndarray) -> Tensor:
    """Normalise an H x W x 3 uint8 RGB image as ImageNet: 3 x H x W float32, mean 0, deviation 1."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    return (tensor - mean) / std


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


def squash_image(image: np.ndarray, side: int) -> Tensor:
    """Resize H x W x 3 uint8 RGB to a square and normalise it: 3 x side x side, float32.

    Bilinear with a filter as wide as the reduction, so that small images show no aliasing.
    """
    if image.shape[:2] != (side, side):
        resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        image = np.array(resized)
    return normalize(image)


def squash_mask(mask: np.ndarray, side: int, keep_small: bool = False) -> Tensor:
    """Resize an H x W mask of 0 and 1 (or bool) to side x side float32, exactly 0 or 1 (nearest).

    Args:
        keep_small: where nothing would be left of the mask, mark every cell that contains any of
            it instead.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    squashed = F.interpolate(tensor, size=(side, side), mode="nearest")
    if keep_small and not squashed.any():
        squashed = F.adaptive_max_pool2d(tensor, side)
    return squashed[0, 0]
