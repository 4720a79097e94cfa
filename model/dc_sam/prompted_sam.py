"""What DC-SAM and VRP-SAM have in common: a frozen backbone and SAM, and what learns between them.

Shapes: B batch, K shots, N prompt tokens, C channels, H and W image height and width, S side of a
feature map.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from model.backbones.backbone import Backbone
from model.dc_sam.features import EncodedImages
from model.dc_sam.prompt_generator import Positions, PromptGenerator
from model.layers import sine_position
from model.method import Method
from model.method_data import Prediction
from model.presence import PresenceScale, presence_signals
from model.sam.segmenter import Segmenter, SegmenterFeatures


@dataclass(frozen=True)
class DecodedImages:
    """What SAM's decoder says to prompt tokens."""

    logits: Tensor
    """B x H x W; above 0 is the object."""
    quality: Tensor
    """B: the decoder's own estimate of the mask's IoU."""
    object_logit: Tensor
    """B: above 0 where SAM 2 sees the object (constant for SAM)."""


class PromptedSam(Method):
    """Backbone and segmenter are frozen; the prompt generator learns."""

    frozen_parts = ("backbone", "segmenter")

    def __init__(
        self,
        backbone: Backbone,
        segmenter: Segmenter,
        generator: PromptGenerator,
        position: str = "sine",
        image_size: int = 512,
    ) -> None:
        """Put the parts together.

        Args:
            position: "sine": a sine encoding on the keys (the papers); "sam": SAM's own dense
                positional encoding on keys and values.
            image_size: H and W.
        """
        super().__init__()
        self.backbone, self.segmenter, self.generator = backbone, segmenter, generator
        self.position, self.image_size = position, image_size
        self.backbone.requires_grad_(False)
        self.segmenter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Frozen parts stay in evaluation mode: their BatchNorm and Dropout never move."""
        super().train(mode)
        self.backbone.eval()
        self.segmenter.eval()
        return self

    @property
    def image_features(self) -> Backbone:
        return self.backbone

    @property
    def promptable(self) -> Segmenter:
        return self.segmenter

    @property
    def knows_drawings_only(self) -> bool:
        return self.segmenter.name == "tiny"

    @torch.no_grad()
    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> EncodedImages:
        """Take in images, B x 3 x H x W: step 1."""
        return self.add_backbone(images, self.segmenter.encode(images), support_only)

    @torch.no_grad()
    def add_backbone(
        self, images: Tensor, sam: SegmenterFeatures | None, support_only: bool = False
    ) -> EncodedImages:
        """What `encode` does once SAM's features are there."""
        backbone = self.backbone.extract(images)
        high = None if support_only else self.backbone.high(backbone.trunk, None)
        return EncodedImages(sam, backbone, high, images.shape[-2:])

    def decode(
        self,
        features: SegmenterFeatures,
        tokens: Tensor,
        size: tuple[int, int],
        align_corners: bool = True,
    ) -> DecodedImages:
        """Decode prompt tokens as they are, B x N x C, to masks of the images' size."""
        decoded = self.segmenter.decode_all(features, tokens)
        logits, quality = self.segmenter.select(decoded, fallback=not self.training)
        large = F.interpolate(
            logits.float(), size=size, mode="bilinear", align_corners=align_corners
        )
        return DecodedImages(large.squeeze(1), quality.squeeze(1), decoded.object_logit.squeeze(1))

    def judge(
        self, decoded: DecodedImages, high: Tensor, support_high: Tensor, support_masks: Tensor
    ) -> Prediction:
        """Masks, and whether the images show the object at all; see `presence_signals`."""
        signals = presence_signals(
            decoded.logits, decoded.quality, high, support_high, support_masks
        )
        presence = (self.presence_scale or PresenceScale())(signals)
        presence = presence * decoded.object_logit.float().sigmoid()
        presence = presence * (decoded.logits > 0).flatten(1).any(1)
        return Prediction(decoded.logits, decoded.quality, presence, signals)

    def _maps(self, images: EncodedImages) -> list[Tensor]:
        """What the fusion concatenates, on the backbone's middle map or the only one it has."""
        middle = images.backbone.middle
        side = (images.backbone.trunk if middle is None else middle).shape[-1]
        return self.generator.maps(middle, images.sam, side)

    def _positions(self, features: Tensor) -> Positions:
        """Position encodings of the keys and of the values of a map, B x C x S x S."""
        channels, side = features.shape[1], features.shape[-1]
        if self.position == "sine":
            return sine_position(channels, side, features.device).to(features.dtype), None
        dense = self.segmenter.dense_position(side).flatten(2)[0].T.to(features.dtype)
        return dense, dense
