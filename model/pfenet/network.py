"""PFENet: a prior of where the object may be, and a query enriched by a prototype at four scales.

Source: Prior Guided Feature Enrichment Network for Few-Shot Segmentation (TPAMI 2020, arXiv
2008.01449).
Shapes: B batch, K shots, C channels, H and W image height and width, S side of the backbone's map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from common.geometry import Geometry
from model.backbones.backbone import Backbone
from model.backbones.resnet import ResNet
from model.correspondence import mask_average, prior_mask, shrink_mask
from model.dc_sam.features import EncodedImages
from model.losses import binary_cross_entropy
from model.method import Method
from model.method_data import LabelledEpisodes, Prediction
from model.pfenet.config import SCALES, PfenetLossOptions
from model.pfenet.enrichment import FeatureEnrichment, reducer, resize
from model.presence import PresenceScale, mean_sureness, presence_signals
from model.sam.sam2 import ABSENT_LOGIT


@dataclass(frozen=True)
class PfenetFeatures:
    """Images after the backbone."""

    maps: EncodedImages
    sizes: Tensor
    """B x 2, int64 on the CPU: height and width before they came to the square."""

    def __getitem__(self, rows: slice) -> "PfenetFeatures":
        return PfenetFeatures(self.maps[rows], self.sizes[rows])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> "PfenetFeatures":
        """One batch of several; all of the same square."""
        maps = EncodedImages.join([part.maps for part in parts])
        return PfenetFeatures(maps, torch.cat([part.sizes for part in parts]))


@dataclass(frozen=True)
class PfenetSupport:
    """What the references say; it serves any number of queries."""

    prototype: Tensor
    """Mean over shots, B x C x 1 x 1."""
    high: Tensor
    """High-level features inside the references, B x K x channels x S x S."""
    masks: Tensor
    """The references on the map, in [0, 1], B x K x S x S."""

    def expand(self, batch: int) -> "PfenetSupport":
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        parts = (self.prototype, self.high, self.masks)
        return PfenetSupport(*(part.expand(batch, *part.shape[1:]) for part in parts))


class Pfenet(Method):
    """The backbone is frozen; two reductions and the enrichment learn."""

    name = "pfenet"
    frozen_parts = ("backbone",)

    def __init__(
        self, backbone: Backbone, image_size: int = 473, scales: str = "fixed", width: int = 256
    ) -> None:
        """Put the parts together.

        Args:
            backbone: one with middle features; of a ResNet, stages 3 and 4 are dilated evenly.
            image_size: H and W.
            scales: one of `SCALES`.
            width: channels of what learns.
        """
        super().__init__()
        if isinstance(backbone.network, ResNet):
            backbone.network.dilate_evenly()
        self.backbone, self.image_size = backbone, image_size
        self.reduce_support = reducer(backbone.middle_channels, width, use=0)
        self.reduce_query = reducer(backbone.middle_channels, width, use=1)
        self.enrichment = FeatureEnrichment(width, SCALES[scales], first_use=2)

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.image_size, padded=True)

    @property
    def image_features(self) -> Backbone:
        return self.backbone

    @property
    def knows_drawings_only(self) -> bool:
        return self.backbone.name == "tiny"

    @torch.no_grad()
    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> PfenetFeatures:
        """Take in images, B x 3 x H x W."""
        if sizes is None:
            sizes = torch.full((len(images), 2), self.image_size)
        maps = self.backbone.extract(images)
        high = None if support_only else self.backbone.high(maps.trunk, None)
        return PfenetFeatures(EncodedImages(None, maps, high, images.shape[-2:]), sizes.cpu())

    def encode_support(
        self,
        images: PfenetFeatures,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> PfenetSupport:
        """Take in B*K references: what is outside of the object is hidden before stage 4."""
        self.refuse_empty(masks)
        maps, shots = images.maps.backbone, masks.shape[:2]
        small = mask_on_map(masks.flatten(0, 1).unsqueeze(1).float(), maps.trunk.shape[-1])
        high = self.backbone.high(maps.trunk, small)
        prototypes = mask_average(self.reduce_support(maps.middle), small).unflatten(0, shots)
        return PfenetSupport(
            prototypes.mean(dim=1), high.unflatten(0, shots), small.squeeze(1).unflatten(0, shots)
        )

    def predict(self, images: PfenetFeatures, support: PfenetSupport) -> Prediction:
        raw, _ = self.segment(images, support)
        padding = self.geometry.paddings(images.sizes).to(raw.device)
        logits = raw.float().masked_fill(padding, ABSENT_LOGIT)
        quality = mean_sureness(raw, ~padding)
        signals = presence_signals(logits, quality, images.maps.high, support.high, support.masks)
        presence = (self.presence_scale or PresenceScale())(signals)
        presence = presence * (logits > 0).flatten(1).any(1)
        return Prediction(logits, quality, presence, signals)

    def segment(
        self, images: PfenetFeatures, support: PfenetSupport
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits of B queries, B x H x W, and those of every scale, of the same size."""
        maps = images.maps
        with torch.no_grad():
            prior = prior_mask(maps.high, support.high, support.masks)
        query = self.reduce_query(maps.backbone.middle)
        logits, scales = self.enrichment(query, support.prototype, prior)
        large = [resize(each[:, None], maps.size[0])[:, 0] for each in (logits, *scales)]
        return large[0], large[1:]

    def training_loss(
        self,
        query: PfenetFeatures,
        support: PfenetFeatures,
        episodes: LabelledEpisodes,
        options: PfenetLossOptions,
    ) -> dict[str, Tensor]:
        """Cross-entropy of the mask, and the mean of those of the scales."""
        encoded = self.encode_support(support, episodes.support_masks, episodes.support_kinds)
        logits, scales = self.segment(query, encoded)
        truth = (episodes.query_mask, episodes.query_ignore)
        auxiliary = torch.stack([binary_cross_entropy(each, *truth) for each in scales])
        return {
            "mask": binary_cross_entropy(logits, *truth).mean(),
            "auxiliary": options.auxiliary_weight * auxiliary.mean(),
        }


def mask_on_map(masks: Tensor, side: int) -> Tensor:
    """References, B x 1 x H x W of 0 and 1, on a map: in [0, 1], B x 1 x side x side.

    They are interpolated; of one that would vanish see `shrink_mask`.
    """
    soft = resize(masks, side)
    vanished = soft.flatten(1).amax(1) == 0
    return torch.where(vanished.view(-1, 1, 1, 1), shrink_mask(masks, side), soft)
