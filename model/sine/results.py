"""From the heads' answers to masks: of a class, and of instances with score and box.

Shapes: Q queries, M classes, N instances, W side of mask logits, S the canvas' side, H and W a
picture's own size.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from common.geometry import Geometry
from common.images import Size
from model.instances import Instances

AT_ONCE = 2**26
"""Values of enlarged masks that are held at a time."""
EPSILON = 1e-6


def enlarge(masks: Tensor, side: int) -> Tensor:
    """Mask logits, N x W x W, on the canvas: N x S x S."""
    return F.interpolate(
        masks[None].float(), (side, side), mode="bilinear", align_corners=False
    ).squeeze(0)


def semantic_scores(probabilities: Tensor, masks: Tensor, side: int) -> Tensor:
    """How much each class is at each pixel, M x S x S, from 0 on; it may exceed 1.

    Args:
        probabilities: of the queries' classes, Q x M.
        masks: logits, Q x W x W.
        side: S.
    """
    scores = masks.new_zeros(probabilities.shape[1], side, side, dtype=torch.float32)
    for some in _parts(len(masks), side * side):
        large = enlarge(masks[some], side).sigmoid()
        with torch.autocast(masks.device.type, enabled=False):
            scores += torch.einsum("qm,qhw->mhw", probabilities[some].float(), large)
    return scores


def score_instances(
    probabilities: Tensor,
    masks: Tensor,
    geometry: Geometry,
    size: Size,
    most: int,
    inclusive_boxes: bool = False,
) -> Instances:
    """The instances in one picture, the best first.

    A query may be instances of several classes.

    Args:
        probabilities: of the queries' classes, Q x M.
        masks: logits, Q x W x W.
        size: H and W.
        most: how many pairs of a query and a class are looked at.
        inclusive_boxes: boxes end with the last pixel's index, as published, not behind it.
    """
    best, place = probabilities.flatten().topk(min(most, probabilities.numel()))
    query = place.div(probabilities.shape[1], rounding_mode="floor")
    wanted, own = query.unique(return_inverse=True)
    parts, sureness = [], []
    for some in _parts(len(wanted), max(size[0] * size[1], geometry.side**2)):
        logits = own_size(enlarge(masks[wanted[some]], geometry.side), geometry, size)
        inside = logits > 0
        summed = (logits.sigmoid() * inside).flatten(1).sum(1)
        parts.append(inside)
        sureness.append(summed / (inside.flatten(1).sum(1) + EPSILON))
    scores = best * torch.cat(sureness)[own]
    concepts = place % probabilities.shape[1]
    found = Instances.of_masks(torch.cat(parts)[own], scores, concepts).best(most)
    if inclusive_boxes:
        found = replace(found, boxes=found.boxes - found.boxes.new_tensor([0, 0, 1, 1]))
    return found


def own_size(maps: Tensor, geometry: Geometry, size: Size) -> Tensor:
    """Maps of the canvas, N x S x S, at the size of the picture: N x H x W."""
    inside = geometry.crop(maps, size)
    if inside.shape[-2:] == size:
        return inside
    return F.interpolate(inside[None], size, mode="bilinear", align_corners=False)[0]


def _parts(count: int, each: int) -> Iterator[slice]:
    step = max(1, AT_ONCE // each)
    return (slice(first, first + step) for first in range(0, count, step))
