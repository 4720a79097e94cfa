"""What references say: the mean of their features inside of masks.

What is kept of a mask is a sum and a count, so that means over several pictures need no features
any more.
Shapes: N masks, B concepts, K shots, C channels, s tokens per side, W = 4 s, S the canvas' side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-8
UPSCALING = 4
"""W / s."""


@dataclass(frozen=True)
class MaskedSums:
    """Sums of features inside of masks; any leading sizes."""

    total: Tensor
    """... x C."""
    count: Tensor
    """Places inside of the mask, ..."""

    def tokens(self) -> Tensor:
        """The means, ... x C; 0 for an empty mask."""
        return self.total / (self.count + EPSILON)[..., None]

    def joined(self, dim: int) -> "MaskedSums":
        """Of several pictures, of which a dimension counts, as if they lay side by side."""
        return MaskedSums(self.total.sum(dim), self.count.sum(dim))

    def __getitem__(self, rows: slice | int) -> "MaskedSums":
        return MaskedSums(self.total[rows], self.count[rows])

    @classmethod
    def cat(cls, parts: Sequence[Self], dim: int = 0) -> "MaskedSums":
        """Several along a leading dimension."""
        return cls(
            torch.cat([part.total for part in parts], dim),
            torch.cat([part.count for part in parts], dim),
        )


def pool(features: Tensor, masks: Tensor, plain: bool = False) -> MaskedSums:
    """Sum features inside of masks.

    Args:
        features: of the pictures, B x C x s x s, or of one picture for all masks.
        masks: exactly 0 or 1, B x S x S.
        plain: as published: a mask that is nowhere between the places which are read vanishes;
            else it marks every cell that it touches.

    Returns:
        Sums B x C, counts B.
    """
    side = UPSCALING * features.shape[-1]
    with torch.autocast(features.device.type, enabled=False):  # sums are too long for half of it
        large = F.interpolate(features.float(), (side, side), mode="bilinear", align_corners=False)
        inside = inside_of(masks, side, plain).to(large.dtype)
        rows = "bchw,bhw->bc" if len(large) == len(inside) else "xchw,bhw->bc"
        return MaskedSums(torch.einsum(rows, large, inside), inside.flatten(1).sum(1))


def inside_of(masks: Tensor, side: int, plain: bool = False) -> Tensor:
    """Masks, N x S x S, at W x W: N x side x side, bool; see `pool`."""
    masks = masks[:, None].float()
    inside = F.interpolate(masks, (side, side), mode="bilinear", align_corners=False) > 0
    if not plain:
        vanished = ~inside.flatten(1).any(1) & (masks.flatten(1).amax(1) > 0)
        if vanished.any():
            inside[vanished] = F.adaptive_max_pool2d(masks[vanished], side) > 0
    return inside[:, 0]
