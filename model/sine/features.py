"""What SINE keeps of pictures and of references; both hold no weights.

Shapes: B batch, K shots, C channels, s tokens per side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from model.sine.references import MaskedSums


@dataclass(frozen=True)
class SineFeatures:
    """Encoded pictures."""

    maps: Tensor
    """The neck's output, B x C x s x s."""

    def __getitem__(self, rows: slice) -> "SineFeatures":
        return SineFeatures(self.maps[rows])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "SineFeatures":
        """One batch of several."""
        return cls(torch.cat([part.maps for part in parts]))


@dataclass(frozen=True)
class SineSupport:
    """The references of B concepts, by the sums of their features inside of the masks."""

    shots: MaskedSums
    """B x K x C and B x K."""

    @property
    def identities(self) -> Tensor:
        """A token for each shot, B x K x C."""
        return self.shots.tokens()

    @property
    def classes(self) -> Tensor:
        """A token of all shots, which count by their area, B x 1 x C."""
        return self.shots.joined(1).tokens()[:, None]

    def expand(self, batch: int) -> "SineSupport":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        total, count = self.shots.total, self.shots.count
        if len(count) == batch:
            return self
        return SineSupport(MaskedSums(total.expand(batch, -1, -1), count.expand(batch, -1)))
