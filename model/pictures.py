"""Pictures and masks as other programs have them: files, Pillow images or arrays."""

from pathlib import Path

import numpy as np
from PIL import Image

from common.images import open_image, read_image, rgb_pixels

Picture = Image.Image | np.ndarray | Path | str
"""A picture or mask; a path is that of its file."""


def picture_pixels(picture: Picture) -> np.ndarray:
    """A picture as `common.images.rgb_pixels` takes it, as H x W x 3 uint8.

    Raises:
        UsageError: a file is missing or broken.
    """
    return read_image(Path(picture)) if isinstance(picture, Path | str) else rgb_pixels(picture)


def binary_mask(mask: Picture) -> np.ndarray:
    """A mask of 0 and one other value as H x W bool; of a palette image the indices count.

    Raises:
        UsageError: a file is missing or broken.
        ValueError: it is empty or has other values.
    """
    if isinstance(mask, Path | str):
        with open_image(Path(mask), "mask") as stored:
            values = np.array(stored)
    else:
        values = np.asarray(mask)
    kinds = np.unique(values)
    if values.ndim != 2 or len(kinds) > 2 or (len(kinds) == 2 and kinds[0] != 0):
        raise ValueError(
            "a mask is H x W with 0 outside the object and one other value inside, not an array "
            f"of shape {values.shape} with {len(kinds)} values"
        )
    if not kinds.any():
        raise ValueError("empty mask: the reference marks no pixel")
    return values != 0
