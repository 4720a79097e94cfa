"""What INSID3 asks of a network: dense features, nothing else.

Shapes: B batch, C channels, S side of pictures, h x w cells, N = h*w.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.backbones.backbone import Backbone


class CellEncoder(Protocol):
    """A frozen network: an `nn.Module` with these."""

    stride: int
    """Pixels of a cell's side."""
    channels: int
    """C."""

    def __call__(self, images: Tensor, coordinate_factors: Sequence[float] = ()) -> Tensor:
        """Features of normalised images, B x 3 x S x S, to B x C x h x w.

        Args:
            coordinate_factors: see `model.backbones.dinov3.DinoV3.forward`.
        """


class BackboneCells(nn.Module):
    """The high-level features of a backbone, whose position encoding, if any, is its own."""

    def __init__(self, backbone: Backbone, channels: int, stride: int) -> None:
        super().__init__()
        self.backbone, self.channels, self.stride = backbone, channels, stride

    def forward(self, images: Tensor, coordinate_factors: Sequence[float] = ()) -> Tensor:
        """See `CellEncoder`.

        Raises:
            ValueError: coordinates are to be changed, and there are none.
        """
        if coordinate_factors:
            raise ValueError("this backbone has no coordinates that could be multiplied")
        return self.backbone.high(self.backbone.extract(images).trunk, None)


@dataclass(frozen=True)
class CellFeatures:
    """Encoded pictures."""

    cells: Tensor
    """Of unit length, float32, B x N x C."""
    grid: tuple[int, int]
    """h and w."""
    pictures: Tensor | None = None
    """The normalised pictures, B x 3 x S x S, where edges are refined by them."""

    def __getitem__(self, rows: slice) -> "CellFeatures":
        pictures = None if self.pictures is None else self.pictures[rows]
        return CellFeatures(self.cells[rows], self.grid, pictures)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "CellFeatures":
        """One batch of several; all of the same size."""
        pictures = [part.pictures for part in parts if part.pictures is not None]
        return CellFeatures(
            torch.cat([part.cells for part in parts]),
            parts[0].grid,
            torch.cat(pictures) if pictures else None,
        )


def unit_cells(features: Tensor) -> Tensor:
    """B x C x h x w to B x N x C, float32, each cell of unit length."""
    return F.normalize(features.float().flatten(2).transpose(1, 2), dim=2)
