"""Masks of boxes: what plain SAM sees in each of many boxes of a picture.

Shapes: N boxes, S side of the square that SAM takes, H and W the picture's own size.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.geometry import Geometry
from common.images import Size
from model.sam.segmenter import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, Segmenter, SegmenterFeatures

AT_A_TIME = 32
"""Boxes that are decoded together."""


def box_geometry(sam: Segmenter) -> Geometry:
    """How SAM's own program brings pictures to the square: the longer side is S, padded."""
    return Geometry(sam.image_size, padded=True)


@torch.no_grad()
def masks_of_boxes(
    sam: Segmenter, features: SegmenterFeatures, boxes: np.ndarray, size: Size
) -> Iterator[tuple[np.ndarray, float]]:
    """Decode the object in each box.

    Args:
        features: of one picture, brought to the square by `box_geometry`.
        boxes: N x 4, left, top, width and height in the picture's pixels.
        size: H and W.

    Yields:
        A mask, H x W bool, and SAM's own estimate of its IoU.
    """
    geometry = box_geometry(sam)
    height, width = geometry.content(size)
    scale = np.array([width / size[1], height / size[0]] * 2)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) * scale
    places = torch.from_numpy(corners.reshape(-1, 2, 2)).float().to(features.embedding.device)
    labels = torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]], device=places.device)
    for some in places.split(AT_A_TIME):
        tokens = sam.point_tokens(some - 0.5, labels.expand(len(some), -1))
        decoded = sam.decode_all(features.expand(len(some)), tokens)
        logits, quality = sam.select(decoded, fallback=True)
        for mask, value in zip(_at_own_size(logits[:, 0], geometry, size), quality, strict=True):
            yield mask.cpu().numpy(), float(value)


def _at_own_size(logits: Tensor, geometry: Geometry, size: Size) -> Iterator[Tensor]:
    """Logits at low resolution, N first, as masks of the picture, one at a time."""
    for one in logits.float():
        square = F.interpolate(one[None, None], (geometry.side, geometry.side), mode="bilinear")
        shown = geometry.crop(square, size)
        yield F.interpolate(shown, size, mode="bilinear")[0, 0] > 0
