"""What PerSAM keeps of pictures and of references between its steps; both hold no weights.

Shapes: B batch, C channels of SAM's embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from model.persam.location import Target
from model.sam.segmenter import SegmenterFeatures


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures and how large each of them is."""

    sam: SegmenterFeatures
    sizes: Tensor
    """B x 2, int64 on the CPU: height and width."""

    def __getitem__(self, rows: slice) -> "Pictures":
        return Pictures(self.sam[rows], self.sizes[rows])

    def expand(self, batch: int) -> "Pictures":
        """One picture for each of so many concepts, without copies."""
        return Pictures(self.sam.expand(batch), self.sizes.expand(batch, -1))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "Pictures":
        embeddings = torch.cat([part.sam.embedding for part in parts])
        return cls(SegmenterFeatures(embeddings), torch.cat([part.sizes for part in parts]))


@dataclass(frozen=True)
class Support:
    """What the references of B concepts say."""

    target: Target
    weights: Tensor | None
    """PerSAM-F: of SAM's three proposals, B x 3."""

    def __getitem__(self, rows: Sequence[int]) -> "Support":
        """Some of the concepts."""
        target = Target(*(vectors[rows] for vectors in self.target))
        return Support(target, None if self.weights is None else self.weights[rows])

    def expand(self, batch: int) -> "Support":
        """One concept for each of so many queries, without copies."""
        target = Target(*(vectors.expand(batch, -1) for vectors in self.target))
        return Support(target, None if self.weights is None else self.weights.expand(batch, -1))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "Support":
        """All concepts of several."""
        target = Target(*map(torch.cat, zip(*(part.target for part in parts), strict=True)))
        weights = [part.weights for part in parts if part.weights is not None]
        return cls(target, torch.cat(weights) if weights else None)
