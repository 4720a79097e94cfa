"""What Matcher keeps of pictures and of references between its steps; both hold no weights.

Shapes: B batch, K shots, T patches of a picture, C channels, S side of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from model.sam.segmenter import SegmenterFeatures


@dataclass(frozen=True)
class MatcherFeatures:
    """Pictures after the frozen networks."""

    patches: Tensor
    """Unit features of the patches, row by row, B x T x C float32."""
    sam: SegmenterFeatures | None
    """What SAM draws masks in; None of references, where it draws none."""
    keys: Tensor
    """A number made of each picture's pixels, int64 B: what random prompts are seeded with."""

    def __getitem__(self, rows: slice) -> "MatcherFeatures":
        sam = None if self.sam is None else self.sam[rows]
        return MatcherFeatures(self.patches[rows], sam, self.keys[rows])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "MatcherFeatures":
        """One batch of several."""
        found = [part.sam for part in parts if part.sam is not None]
        sam = SegmenterFeatures(torch.cat([one.embedding for one in found])) if found else None
        return MatcherFeatures(
            torch.cat([part.patches for part in parts]),
            sam if len(found) == len(parts) else None,
            torch.cat([part.keys for part in parts]),
        )


@dataclass(frozen=True)
class MatcherSupport:
    """The references of B concepts."""

    patches: Tensor
    """Unit features of all patches of all shots, B x K*T x C: the way back may end in any."""
    foreground: Tensor
    """Which of them touch the object, B x K*T bool."""
    masks: Tensor
    """B x K x S x S, exactly 0 or 1."""

    def expand(self, batch: int) -> "MatcherSupport":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        return MatcherSupport(
            *(
                tensor.expand(batch, *tensor.shape[1:])
                for tensor in (self.patches, self.foreground, self.masks)
            )
        )
