"""Pictures and places as SAM takes them.

Shapes: B batch, h and w a picture's sides, Q prompts of n places.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.images import Size
from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.sam.sam1 import Sam
from model.sam.segmenter import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    POINT_POSITIVE,
    SegmenterFeatures,
)

_PADDING = -1
"""Label of the token that stands in the place of a box."""


def grey_levels(images: Tensor, whole: bool = True) -> Tensor:
    """Normalised images as the grey levels they were made of: B x 3 x h x w float32.

    Args:
        whole: they were whole numbers.
    """
    levels = images.float() * _channels(IMAGE_STD, images) + _channels(IMAGE_MEAN, images)
    return ((255 * levels).round() if whole else 255 * levels).clamp(0, 255)


def size_for_sam(segmenter: Sam, size: Size) -> Size:
    """Height and width of a picture as SAM takes it, its longer side SAM's own."""
    scale = segmenter.image_size / max(size)
    return round(size[0] * scale), round(size[1] * scale)


def encode_for_sam(segmenter: Sam, pixels: Tensor) -> SegmenterFeatures:
    """SAM's features of whole grey levels, B x 3 x h x w, enlarged as Pillow enlarges files."""
    height, width = pixels.shape[-2:]
    tall, wide = size_for_sam(segmenter, (height, width))
    for size in ((height, wide), (tall, wide)):  # Pillow rounds between the two directions
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(
                pixels,
                size=size,
                mode="bilinear",
                align_corners=False,
                antialias=wide < width,
            )
            pixels = (pixels + 0.5).floor()
    mean, std = _channels(IMAGE_MEAN, pixels), _channels(IMAGE_STD, pixels)
    padding = (0, segmenter.image_size - wide, 0, segmenter.image_size - tall)
    return segmenter.encode_images(F.pad((pixels / 255 - mean) / std, padding))


def point_tokens(
    segmenter: Sam, points: np.ndarray, box: np.ndarray | None, scale: float
) -> Tensor:
    """Prompt tokens of places, Q x n x 2, each with the same box or none.

    Args:
        scale: how much larger SAM sees the picture in which they are told.
    """
    count, places = points.shape[:2]
    if box is None:
        corners, labels = np.zeros((1, 2)), [_PADDING]
    else:
        corners, labels = box.reshape(2, 2), [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
    corners = np.broadcast_to(corners, (count, *corners.shape))
    both = torch.from_numpy(np.concatenate([points, corners], axis=1) * scale)
    marks = torch.tensor([POINT_POSITIVE] * places + labels).expand(count, -1)
    return segmenter.point_tokens(both.float().to(segmenter.device), marks.to(segmenter.device))


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device).view(3, 1, 1)
