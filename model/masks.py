"""Resizing of masks, which stay exactly 0 or 1: attention compares them.

Shapes: B batch, H and W image height and width, S side of the feature map.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


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
