"""What DC-SAM keeps of images and of supports between its steps; both hold no weights.

Shapes: B batch, K shots, H and W image height and width, S side of a feature map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from model.backbones.backbone import BackboneFeatures
from model.dc_sam.prompt_generator import SupportPrompts
from model.sam.segmenter import SegmenterFeatures


@dataclass(frozen=True)
class Support:
    """Everything DC-SAM takes from support images and masks; it serves any number of queries."""

    branches: list[SupportPrompts]
    """One of each branch."""
    masks: Tensor
    """The support masks, B x K x H x W."""
    high: list[Tensor]
    """High-level support features of each branch, B x K x channels x S x S."""

    def expand(self, batch: int) -> "Support":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        if self.masks.shape[0] == batch:
            return self

        def repeat(tensor: Tensor) -> Tensor:
            return tensor.expand(batch, *tensor.shape[1:])

        branches = [
            SupportPrompts(repeat(b.prompts), repeat(b.prototype), repeat(b.tokens))
            for b in self.branches
        ]
        return Support(branches, repeat(self.masks), [repeat(high) for high in self.high])


@dataclass(frozen=True)
class EncodedImages:
    """Images after the frozen networks."""

    sam: SegmenterFeatures | None
    """None of supports where the method takes nothing of SAM's from them."""
    backbone: BackboneFeatures
    high: Tensor | None
    """High-level features, B x channels x S x S; None of supports, which are masked first."""
    size: tuple[int, int]
    """H and W."""

    def __getitem__(self, rows: slice) -> "EncodedImages":
        def some(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows]

        backbone = BackboneFeatures(some(self.backbone.middle), self.backbone.trunk[rows])
        sam = None if self.sam is None else self.sam[rows]
        return EncodedImages(sam, backbone, some(self.high), self.size)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "EncodedImages":
        """One batch of several; all of the same size."""

        def joined(tensors: list[Tensor | None]) -> Tensor | None:
            return None if tensors[0] is None else torch.cat(tensors)

        together = None
        if parts[0].sam is not None:
            together = SegmenterFeatures.join([part.sam for part in parts])
        return EncodedImages(
            together,
            BackboneFeatures(
                joined([part.backbone.middle for part in parts]),
                torch.cat([part.backbone.trunk for part in parts]),
            ),
            joined([part.high for part in parts]),
            parts[0].size,
        )
