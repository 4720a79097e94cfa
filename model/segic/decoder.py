"""All of SegIC that learns: a neck on frozen features, SAM's decoder, and what its prompts become.

SAM's modules are taken as they are but for the first layer that reads a dense prompt: here that is
a map at the size of the picture. They begin untrained. Names of weights are the published ones.
Source: SegIC (arXiv 2311.14671), section 3.4.
Shapes: N entities, C channels of the backbone, S side of its map, M side of the square, D channels
of the decoder, T width of a text's vector, V visual tokens.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from model.sam.sam1 import SamDecoder, SamSize
from model.sam.segmenter import (
    POINT_NEGATIVE,
    POINT_POSITIVE,
    DecodedMasks,
    SegmenterFeatures,
)
from model.segic.config import INSTRUCTIONS
from model.segic.hints import Hints

OTHER, OWN = 0, 1
"""Rows of the table that says whose a visual token is."""


@dataclass(frozen=True)
class DecoderSize:
    """Sizes of the part that learns."""

    backbone_channels: int
    """C."""
    image_size: int
    """M."""
    patch: int
    """Pixels along a side of a cell of the backbone, an even number."""
    text_width: int = 768
    """T: of CLIP ViT-L/14."""
    channels: int = 256
    """D."""
    hidden: int = 2048
    quality_hidden: int = 256

    def of_sam(self) -> SamSize:
        """What SAM's modules need to know."""
        return SamSize(
            width=self.backbone_channels,
            depth=0,
            heads=0,
            global_blocks=(),
            image_size=self.image_size,
            patch=self.patch,
            channels=self.channels,
            decoder_mlp=self.hidden,
            quality_hidden=self.quality_hidden,
        )


class SegicDecoder(SamDecoder):
    """Draws one mask for each entity."""

    name = "segic"

    def __init__(self, size: DecoderSize, instructions: Collection[str] = INSTRUCTIONS) -> None:
        """
        Args:
            instructions: which of `INSTRUCTIONS` it reads; what it does not read never learns.
        """
        super().__init__(size.of_sam())
        self.instructions = frozenset(instructions)
        width, channels = size.backbone_channels, size.channels
        self.neck = nn.Sequential(
            nn.Conv2d(width, channels, 1, bias=False),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            LayerNorm2d(channels),
        )
        first = self.prompt_encoder.mask_downscaling[0]
        step = size.patch // 2  # the second layer halves what is left
        self.prompt_encoder.mask_downscaling[0] = nn.Conv2d(1, first.out_channels, step, step)
        self.inst_proj = nn.Linear(width, channels)
        self.prompt_proj = nn.Linear(size.text_width, channels)
        self.inst_type_embed = nn.Embedding(2, channels)

    def encode_images(self, images: Tensor) -> SegmenterFeatures:
        """Embed features of the backbone, B x C x S x S."""
        return SegmenterFeatures(self.neck(images))

    def decode_hints(self, embedding: SegmenterFeatures, hints: Hints) -> DecodedMasks:
        """Draw the mask of each entity in its own image; only the first of four is ever trained.

        Args:
            embedding: of the image of each of N entities.
        """
        dense = None
        if "geometric" in self.instructions:
            dense = self.embed_masks(hints.maps.unsqueeze(1))
        return self.decode_all(embedding, self.sparse_tokens(hints), dense)

    def meta_tokens(self, vectors: Tensor) -> Tensor:
        """Tokens of sentences, by their vectors: N x T to N x D."""
        return self.prompt_proj(vectors)

    def sparse_tokens(self, hints: Hints) -> Tensor:
        """Tokens of N entities in the order that the weights know, N x (P + 1 + V) x D, or fewer
        where some instructions are not read."""
        points, labels = hints.points, hints.labels
        if "geometric" not in self.instructions:
            kept = ~((labels == POINT_POSITIVE) | (labels == POINT_NEGATIVE)).all(0)
            points, labels = points[:, kept], labels[:, kept]
        tokens = [self.point_tokens(points, labels)]
        if "meta" in self.instructions:
            tokens.append(hints.meta.unsqueeze(1))
        if "visual" in self.instructions:
            tokens.append(self._visual_tokens(hints))
        return torch.cat(tokens, dim=1)

    def _visual_tokens(self, hints: Hints) -> Tensor:
        visual = self.inst_proj(hints.prototypes)
        if hints.own is not None:
            visual = visual + self.inst_type_embed(torch.where(hints.own, OWN, OTHER))
        return visual
