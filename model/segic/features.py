"""What SegIC keeps of images and of references; both hold no weights.

Shapes: B batch, K shots, N entities, C channels of the backbone, S side of its map, D channels of
the decoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class SegicFeatures:
    """Encoded images."""

    cells: Tensor
    """Features of the backbone after its last norm, B x C x S x S."""
    sizes: Tensor
    """B x 2, int64 on the CPU: height and width before they came to the square."""

    def __getitem__(self, rows: slice) -> "SegicFeatures":
        return SegicFeatures(self.cells[rows], self.sizes[rows])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "SegicFeatures":
        """One batch of several; all of the same square."""
        return SegicFeatures(
            torch.cat([part.cells for part in parts]), torch.cat([part.sizes for part in parts])
        )


@dataclass(frozen=True)
class SegicSupport:
    """What the references of B concepts say: pictures are not needed any more."""

    prototypes: Tensor
    """Mean feature of the object in each reference, B x K x C."""
    directions: Tensor
    """What the features of a query are compared with, B x C."""
    meta: Tensor
    """What was said about the object in words, as the decoder's token, B x D."""

    def expand(self, batch: int) -> "SegicSupport":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        return SegicSupport(
            *(
                tensor.expand(batch, *tensor.shape[1:])
                for tensor in (self.prototypes, self.directions, self.meta)
            )
        )

    def silenced(self) -> "SegicSupport":
        """The same entities without anything said about them."""
        return SegicSupport(*(torch.zeros_like(value) for value in vars(self).values()))


@dataclass(frozen=True)
class Entities:
    """What is asked for together, in each of B images: every entity sees the others' tokens."""

    prototypes: Tensor
    """All of them, the first entity's shots first: B x V x C."""
    owners: Tensor
    """Which entity each of them is of: V, int64."""
    directions: Tensor
    """B x N x C."""
    meta: Tensor
    """B x N x D."""

    def __len__(self) -> int:
        return self.directions.shape[1]

    @classmethod
    def of(cls, supports: Sequence[SegicSupport]) -> Self:
        """N supports, each for all B images; they may have different numbers of shots."""
        shots = torch.tensor([support.prototypes.shape[1] for support in supports])
        owners = torch.arange(len(supports)).repeat_interleave(shots)
        return cls(
            torch.cat([support.prototypes for support in supports], dim=1),
            owners.to(supports[0].prototypes.device),
            torch.stack([support.directions for support in supports], dim=1),
            torch.stack([support.meta for support in supports], dim=1),
        )
