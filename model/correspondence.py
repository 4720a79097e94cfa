"""Correspondence of a query with labelled pictures, and masks at the size of feature maps.

Masks stay exactly 0 or 1: attention compares them.
Shapes: B batch, K shots, C channels, H and W image height and width, S side of the feature map,
T = S*S places.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-7
AREA_OFFSET = 0.0005
"""Added to the area in a prototype's denominator."""


def shrink_mask(mask: Tensor, side: int) -> Tensor:
    """Bring a mask to a feature map by nearest interpolation.

    A mask that would vanish although it is not empty marks every cell that it touches instead.

    Args:
        mask: 0 or 1, B x 1 x H x W.

    Returns:
        0 or 1, B x 1 x side x side.
    """
    small = F.interpolate(mask, size=(side, side), mode="nearest")
    vanished = (small.flatten(1).amax(1) == 0) & (mask.flatten(1).amax(1) > 0)
    exporting = torch.compiler.is_exporting()  # a graph does the same for every mask
    if not exporting and not vanished.any():
        return small
    touched = F.adaptive_max_pool2d(mask, side)
    return touched.where(vanished.view(-1, 1, 1, 1), small)


def mask_average(features: Tensor, mask: Tensor) -> Tensor:
    """Prototype: mean of B x C x S x S features over a mask, B x 1 x S x S; B x C x 1 x 1."""
    area = mask.sum((2, 3), keepdim=True) + AREA_OFFSET
    return (features * mask).sum((2, 3), keepdim=True) / area


def prior_mask(
    query: Tensor, support: Tensor, support_mask: Tensor, normalize: bool = True
) -> Tensor:
    """Return, for every query place, its best cosine similarity with the support inside a mask.

    Source: PFENet's training-free prior, as used in DC-SAM section 4.2.

    Args:
        query: high-level query features, B x C x S x S.
        support: high-level support features, B x K x C x S x S.
        support_mask: 0 or 1, B x K x H x W; where it is empty the prior is 0.
        normalize: scale each map to [0, 1] (the paper); False: as it is (the release).

    Returns:
        B x 1 x S x S, the mean over shots.
    """
    batch, shots, side = *support.shape[:2], query.shape[-1]
    mask = shrink_mask(support_mask.flatten(0, 1).unsqueeze(1).to(support.dtype), side)
    mask = mask.view(batch, shots, 1, side, side)
    keys = (support * mask).flatten(3)  # B K C T
    queries = query.flatten(2)  # B C T
    priors = torch.stack(
        [
            torch.stack([_best_similarity(queries[b], keys[b, k]) for k in range(shots)])
            for b in range(batch)
        ]
    )  # B K T
    if normalize:
        low, high = priors.amin(2, keepdim=True), priors.amax(2, keepdim=True)
        priors = (priors - low) / (high - low + EPSILON)
    return priors.mean(dim=1).view(batch, 1, side, side)


def _best_similarity(queries: Tensor, keys: Tensor) -> Tensor:
    """The highest cosine similarity of each query with any key; keys of length 0 count as 0.

    Only keys with a length are multiplied out: outside the mask all of them are 0.
    """
    lengths = keys.norm(dim=0)  # T
    if torch.compiler.is_exporting():  # the shapes in a graph do not depend on the mask
        return _cosines(keys, lengths, queries).amax(dim=0)
    inside = lengths > 0
    if not inside.any():
        return queries.new_zeros(queries.shape[1])
    best = _cosines(keys[:, inside], lengths[inside], queries).amax(dim=0)
    return best if inside.all() else F.relu(best)


def _cosines(keys: Tensor, lengths: Tensor, queries: Tensor) -> Tensor:
    scale = lengths[:, None] * queries.norm(dim=0)[None] + EPSILON
    return keys.T @ queries / scale
