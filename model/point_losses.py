"""Cross-entropy and Dice on points of masks instead of all pixels, most of them unsure ones.

Source: PointRend's selection of points (arXiv 1912.08193, section 3.2), as SegIC and SINE train.
Points are (x, y) in [0, 1] of a map's width and height, whatever its resolution.
Shapes: N masks, P points of each, H and W a map's sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from model.losses import binary_cross_entropy, dice
from model.method_options import POINTS

OVERSAMPLING = 3
"""Candidates, as a multiple of P."""
UNSURE_SHARE = 0.75
"""Of the P points, those that are taken from the candidates by how unsure the logits are."""


@dataclass(frozen=True)
class PointDraws:
    """Uniform points of N masks, of which `unsure_points` keeps P a mask."""

    candidates: Tensor
    """N x 3P x 2."""
    fresh: Tensor
    """N x (P - 3P/4) x 2: those that are kept wherever they fall."""

    @classmethod
    def drawn(cls, masks: int, generator: torch.Generator, points: int = POINTS) -> Self:
        """For so many masks, from a generator on the CPU, candidates first."""
        fresh = points - int(UNSURE_SHARE * points)
        return cls(
            torch.rand((masks, OVERSAMPLING * points, 2), generator=generator),
            torch.rand((masks, fresh, 2), generator=generator),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Those of all masks of several."""
        candidates = torch.cat([part.candidates for part in parts])
        return cls(candidates, torch.cat([part.fresh for part in parts]))

    def to(self, device: torch.device) -> Self:
        """The same points on a device."""
        return type(self)(self.candidates.to(device), self.fresh.to(device))


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Maps' values at points: bilinear between the centres of pixels, and 0 outside.

    Args:
        maps: N x H x W.
        points: N x P x 2, or 1 x P x 2 for all maps.

    Returns:
        N x P.
    """
    places = (2 * points - 1).expand(len(maps), -1, -1)[:, None]
    return F.grid_sample(maps[:, None], places, align_corners=False)[:, 0, 0]


@torch.no_grad()
def unsure_points(logits: Tensor, draws: PointDraws) -> Tensor:
    """The candidates whose logits are nearest to 0, and the fresh points.

    Args:
        logits: N x H x W.

    Returns:
        N x P x 2.
    """
    candidates, fresh = draws.candidates, draws.fresh
    kept = candidates.shape[1] // OVERSAMPLING - fresh.shape[1]
    certainty = sample(logits, candidates).abs()
    unsure = certainty.topk(kept, dim=1, largest=False).indices
    chosen = candidates.gather(1, unsure[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, fresh], dim=1)


def point_losses(logits: Tensor, masks: Tensor, draws: PointDraws) -> tuple[Tensor, Tensor]:
    """Cross-entropy, and Dice with 1 added to numerator and denominator, of each mask.

    Both maps are read at the same points, so that they may differ in resolution.

    Args:
        logits: N x H x W.
        masks: 0 to 1, N x any height x any width.

    Returns:
        Two of N.
    """
    draws = draws.to(logits.device)
    points = unsure_points(logits, draws)
    found, labels = sample(logits, points), sample(masks.to(logits.dtype), points)
    entropy = binary_cross_entropy(found, labels)
    return entropy, dice(found, labels, squared=False, smoothing=1.0)
