"""What of the reference is looked for, and where in a picture it is likely to be.

Source: PerSAM, sections 3.1 and 3.2, and its release.
Shapes: B pictures, C channels of SAM's embedding, s its side, S side of the square, H and W a
picture's own size.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.persam.frame import Frame

EPSILON = 1e-6
"""The least deviation of a cosine map, for pictures of one pixel or one colour."""


class Target(NamedTuple):
    """What a reference says about its object."""

    mean: Tensor
    """B x C: the mean feature inside the mask, which guides PerSAM's decoder."""
    mixed: Tensor
    """B x C: half the mean and half the largest feature of each channel."""


def target_cells(masks: Tensor, side: int) -> Tensor:
    """Cells of the embedding that belong to the target: more than half of their pixels do.

    Of a mask too small for any such cell, the fullest cell.

    Args:
        masks: 0 or 1, B x S x S.

    Returns:
        B x side x side, bool.

    Raises:
        ValueError: a mask is empty.
    """
    if (masks.flatten(1).amax(1) == 0).any():
        raise ValueError("empty support mask: the reference shows no object")
    share = F.adaptive_avg_pool2d(masks[:, None].float(), side)[:, 0]
    cells = share > 0.5
    fullest = share == share.amax((1, 2), keepdim=True)
    return cells.where(cells.flatten(1).any(1).view(-1, 1, 1), fullest)


def released_mask(values: Tensor, side: int) -> Tensor:
    """A mask picture as the release reads it: normalised as a photograph, cells above 0 belong.

    Which share of a cell that takes depends on the file's value: all of it for 128.

    Args:
        values: the red channel in the square, 0 to 255, and NaN in the padding; B x S x S.

    Returns:
        B x side x side.
    """
    normalised = ((values / 255 - IMAGE_MEAN[0]) / IMAGE_STD[0]).nan_to_num(0.0)
    size = (side, side)
    return F.interpolate(normalised[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def find_target(features: Tensor, cells: Tensor) -> Target:
    """Target vectors of B references.

    Args:
        features: B x C x s x s.
        cells: B x s x s, bool, none of them empty.
    """
    rows = [one.float()[:, inside] for one, inside in zip(features, cells, strict=True)]
    mean = torch.stack([row.mean(1) for row in rows])
    largest = torch.stack([row.amax(1) for row in rows])
    return Target(mean, mean / 2 + largest / 2)


def cosine_map(features: Tensor, vectors: Tensor) -> Tensor:
    """Cosine of every place's feature, B x C x s x s, with a vector, B x C: B x s x s, float32."""
    with torch.autocast(features.device.type, enabled=False):
        places = F.normalize(features.float(), dim=1)
        return torch.einsum("bchw,bc->bhw", places, F.normalize(vectors.float(), dim=1))


def locate(cosines: Tensor, frame: Frame) -> Tensor:
    """A cosine map, s x s, at its picture's own size: H x W."""
    side = 4 * cosines.shape[-1]
    fine = F.interpolate(cosines[None, None], (side, side), mode="bilinear", align_corners=False)
    return frame.restore(fine[0])[0]


def highest_places(values: Tensor, count: int = 1, apart: float = 0.0) -> Tensor:
    """The places of a map's highest values; of equal ones the first in reading order.

    Args:
        values: H x W.
        apart: how many pixels, in x or in y, each is at least from those before.

    Returns:
        count x 2: x and y, int64.
    """
    values, found = values.clone(), []
    width = values.shape[1]
    for _ in range(count):
        index = (values == values.max()).flatten().nonzero()[0, 0]
        x, y = index % width, index // width
        found.append(torch.stack([x, y]))
        reach = max(math.ceil(apart) - 1, 0)
        left, top = max(int(x) - reach, 0), max(int(y) - reach, 0)
        values[top : int(y) + reach + 1, left : int(x) + reach + 1] = -torch.inf
    return torch.stack(found)


def guidance(cosines: Tensor, own: Tensor, frame: Frame, released: bool = False) -> Tensor:
    """What is added to the decoder's attention: a cosine map, standardised, between 0 and 1.

    Mean and deviation are those of the picture's own pixels. The release resizes the picture
    without its padding to the embedding's grid, which misplaces it unless the picture is square.

    Args:
        cosines: s x s.
        own: the same at the picture's own size, H x W.

    Returns:
        s x s.
    """
    mean = own.mean()
    deviation = own.std(correction=min(1, own.numel() - 1)).clamp_min(EPSILON)
    if released:
        placed = (own - mean) / deviation
    else:
        whole = Frame((frame.side, frame.side), (frame.side, frame.side), frame.side)
        placed = (locate(cosines, whole) - mean) / deviation
    small = F.interpolate(placed[None, None], cosines.shape, mode="bilinear", align_corners=False)
    return small[0, 0].sigmoid()
