"""Files of benchmarks, as they are stored: masks of class ids or object numbers, and sizes.

Their pictures are read with `common.images.read_image(path, upright=False)`.
"""

from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.images import open_image

IGNORED = 255
"""The mask value of pixels that count neither in the loss nor in the metric."""


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


def image_size(path: Path) -> tuple[int, int]:
    """Height and width from a picture's header, without decoding its pixels.

    Raises:
        UsageError: the file is missing or is no image.
    """
    with open_image(path) as image:
        return image.height, image.width
