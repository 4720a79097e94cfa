"""What DC-SAM asks of a promptable segmentation model; SAM and SAM 2 implement it.

Shapes: B batch, N prompt tokens, C channels of the embedding, S side of the embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POINT_NEGATIVE, POINT_POSITIVE, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = 0, 1, 2, 3
"""Labels of prompts: which of SAM's learned point embeddings says what a point means."""
NOT_A_POINT = -1
"""Label of the token that SAM expects after points without a box."""


@dataclass(frozen=True)
class SegmenterFeatures:
    """Encoded images."""

    embedding: Tensor
    """B x C x S x S."""
    levels: tuple[Tensor, ...] = ()
    """SAM 2 only: B x C/8 x 4S x 4S and B x C/4 x 2S x 2S, after the decoder's conv_s0, conv_s1."""

    def __getitem__(self, index: slice | Tensor) -> "SegmenterFeatures":
        """The features of some of the images."""
        return SegmenterFeatures(
            self.embedding[index], tuple(level[index] for level in self.levels)
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One batch of several."""
        levels = zip(*(part.levels for part in parts), strict=True)
        return cls(torch.cat([part.embedding for part in parts]), tuple(map(torch.cat, levels)))

    def expand(self, batch: int) -> "SegmenterFeatures":
        """The features of one image (B = 1) for each of so many prompts, without copies."""
        return SegmenterFeatures(
            self.embedding.expand(batch, -1, -1, -1),
            tuple(level.expand(batch, -1, -1, -1) for level in self.levels),
        )


class DecodedMasks(NamedTuple):
    """Everything the mask decoder says about one prompt: the single mask, then three proposals."""

    logits: Tensor
    """B x 4 x 4S x 4S."""
    quality: Tensor
    """B x 4, the decoder's own estimate of each mask's IoU."""
    object_logit: Tensor
    """B x 1, above 0 where the prompted object is in the picture (SAM 2; constant for SAM)."""
    tokens: Tensor | None = None
    """SAM 2 only: the decoder's token of each mask, B x 4 x C."""


class Segmenter(nn.Module):
    """A promptable segmentation model: encodes an image once, decodes it for any prompt.

    Subclasses set the attributes and define `encode_images` and `decode_all`.
    """

    name: str
    """What `model.dc_sam.config` calls it, for instance `vit_b`."""
    image_size: int
    """Side of the square images which the encoder takes."""
    channels: int
    """C: width of the embedding and of prompt tokens."""
    prompt_encoder: nn.Module
    """SAM's own; a property where the checkpoint files use another name for it."""

    @property
    def embedding_size(self) -> int:
        """S."""
        return self.prompt_encoder.image_embedding_size[0]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def official(self) -> nn.Module:
        """The module whose state dict has the names of the official checkpoint files."""
        return self

    def encode_images(self, images: Tensor) -> SegmenterFeatures:
        """Encode images which already have the encoder's size."""
        raise NotImplementedError

    def decode_all(
        self, features: SegmenterFeatures, tokens: Tensor, dense: Tensor | None = None
    ) -> DecodedMasks:
        """All masks for sparse prompt tokens.

        Args:
            tokens: B x any number x C.
            dense: mask prompts as `embed_masks` gives them; None: there are none.
        """
        raise NotImplementedError

    def embed_masks(self, logits: Tensor) -> Tensor:
        """Dense prompts, B x C x S x S, of masks at low resolution, B x 1 x 4S x 4S."""
        return self.prompt_encoder.mask_downscaling(logits)

    def select(self, decoded: DecodedMasks, fallback: bool) -> tuple[Tensor, Tensor]:
        """The one mask to use and its estimated quality: B x 1 x 4S x 4S and B x 1.

        Args:
            fallback: let SAM 2 replace an unstable mask; off while prompts are being trained.
        """
        return decoded.logits[:, :1], decoded.quality[:, :1]

    def encode(self, images: Tensor) -> SegmenterFeatures:
        """Encode normalised images, B x 3 x any square size; each call encodes each image once."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=True)
        return self.encode_images(images)

    def label(self, tokens: Tensor, label: int) -> Tensor:
        """Mark prompt tokens, B x N x C, as positive or negative (section 4.4: P' = P + E)."""
        return tokens + self.prompt_encoder.point_embeddings[label].weight

    def decode(
        self,
        features: SegmenterFeatures,
        positive: Tensor,
        negative: Tensor | None,
        fallback: bool = True,
    ) -> Tensor:
        """Draw the mask that prompt tokens ask for.

        Args:
            positive, negative: unlabelled prompt tokens, each B x N x C.

        Returns:
            Logits at low resolution, B x 1 x 4S x 4S.
        """
        tokens = self.prompt(positive, negative)
        return self.select(self.decode_all(features, tokens), fallback)[0]

    def prompt(self, positive: Tensor, negative: Tensor | None) -> Tensor:
        """Labelled prompt tokens, the positive ones first: B x N or 2N x C."""
        tokens = self.label(positive, POINT_POSITIVE)
        if negative is None:
            return tokens
        return torch.cat([tokens, self.label(negative, POINT_NEGATIVE)], dim=1)

    def dense_position(self, side: int | None = None) -> Tensor:
        """SAM's own positional encoding of every place, 1 x C x side x side (default: S)."""
        side = side or self.embedding_size
        return self.prompt_encoder.pe_layer((side, side)).unsqueeze(0)

    def point_tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """Labelled prompt tokens of clicks and box corners.

        Args:
            points: x, y in pixels of an image of side `image_size`, B x N x 2.
            labels: B x N, each a label from above.

        Returns:
            B x N x C.
        """
        encoder = self.prompt_encoder
        size = (self.image_size, self.image_size)
        position = encoder.pe_layer.forward_with_coords(points + 0.5, size)
        position = position * (labels >= 0).unsqueeze(-1)
        table = torch.cat(
            [encoder.not_a_point_embed.weight, *[e.weight for e in encoder.point_embeddings]]
        )
        return position + table[labels + 1]
