"""PerSAM and PerSAM-F: SAM, told by one labelled picture what to segment in others.

PerSAM learns nothing, PerSAM-F two numbers on the reference alone.
Source: "Personalize Segment Anything Model with One Shot" (ICLR 2024) and its release; where the
release is mistaken, its way is a switch that is off.
Shapes: B batch, K shots, C channels of SAM's embedding, s its side, S side of the square.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from common.geometry import Geometry
from model.method import Method
from model.method_data import Prediction
from model.persam.features import Pictures, Support
from model.persam.frame import Frame
from model.persam.guided_decoder import GuidedTransformer
from model.persam.location import (
    Target,
    cosine_map,
    find_target,
    guidance,
    highest_places,
    locate,
    released_mask,
    target_cells,
)
from model.persam.passes import Decoder, Found
from model.persam.rules import Rules, Training
from model.persam.scale_training import fit_weights
from model.presence import PresenceScale
from model.sam.sam1 import Sam
from model.sam.sam2 import ABSENT_LOGIT
from model.sam.segmenter import POINT_NEGATIVE, POINT_POSITIVE, Segmenter

PRESENCE = PresenceScale((9.9, 0.0, 0.0), -5.5)
"""Of the resemblance alone, as DC-SAM's default has it: scores rank pictures, nothing more."""


class PerSamImages(Method):
    """PerSAM on pictures, or PerSAM-F where it is told how to train."""

    frozen_parts = ("segmenter",)

    def __init__(self, segmenter: Sam, rules: Rules, training: Training | None = None) -> None:
        """Take over a SAM.

        Args:
            training: of PerSAM-F's two weights; None: PerSAM.
        """
        super().__init__()
        self.name = "persam" if training is None else "persam_f"
        self.segmenter = segmenter.requires_grad_(False).eval()
        self.rules, self.training_plan = rules, training
        self.image_size = segmenter.image_size

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.image_size, padded=True)

    @property
    def knows_drawings_only(self) -> bool:
        return self.segmenter.name == "tiny"

    @property
    def promptable(self) -> Segmenter:
        return self.segmenter

    @property
    def compares_places(self) -> bool:
        return True

    @torch.no_grad()
    def place_features(self, images: Tensor) -> Tensor:
        """SAM's embedding."""
        return self.segmenter.encode(images).embedding

    @torch.no_grad()
    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> Pictures:
        if sizes is None:
            sizes = torch.full((len(images), 2), self.image_size)
        return Pictures(self.segmenter.encode(images), sizes.cpu())

    @torch.no_grad()
    def encode_support(
        self,
        images: Pictures,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> Support:
        """Find what each reference's mask covers; of several references the mean counts.

        Args:
            masks: 0 or 1, B x K x S x S.

        Raises:
            ValueError: a mask is empty.
        """
        shots = masks.shape[1]
        flat = masks.flatten(0, 1)
        target = find_target(images.sam.embedding, self.cells(images, flat))
        support = Support(target, None)
        if self.training_plan is not None:
            support = replace(support, weights=self._train(images, flat, target))
        if shots == 1:
            return support

        def mean(rows: Tensor) -> Tensor:
            return rows.unflatten(0, (-1, shots)).mean(1)

        weights = None if support.weights is None else mean(support.weights)
        return Support(Target(*map(mean, target)), weights)

    @torch.no_grad()
    def predict(self, images: Pictures, support: Support) -> Prediction:
        """Segment queries in three passes of the decoder."""
        frames = self.frames(images)
        vectors = support.target.mean if support.weights is None else support.target.mixed
        cosines = cosine_map(images.sam.embedding, vectors)
        own = [locate(one, frame) for one, frame in zip(cosines, frames, strict=True)]
        if support.weights is None:
            found = self._guided_passes(images, frames, support, cosines, own)
        else:
            points = torch.stack([highest_places(one) for one in own])
            decoder = Decoder(self.segmenter, images.sam, frames, points, [POINT_POSITIVE])
            found = decoder.weighted(decoder.decode(), support.weights)
            found = decoder.refine(found, times=2)
        return self.prediction(images, support, found)

    def _guided_passes(
        self,
        images: Pictures,
        frames: Sequence[Frame],
        support: Support,
        cosines: Tensor,
        own: Sequence[Tensor],
    ) -> Found:
        points = torch.stack([torch.cat([highest_places(m), highest_places(-m)]) for m in own])
        guides = torch.stack(
            [
                guidance(one, restored, frame, self.rules.released_guidance).flatten()
                for one, restored, frame in zip(cosines, own, frames, strict=True)
            ]
        )
        guided = GuidedTransformer(
            self.segmenter.mask_decoder.transformer, support.target.mean, guides
        )
        labels = [POINT_POSITIVE, POINT_NEGATIVE]
        decoder = Decoder(self.segmenter, images.sam, frames, points, labels)
        first = decoder.single(decoder.decode(guided=guided))
        second = decoder.best(decoder.decode(masks=first.low)).or_else(first)
        return decoder.refine(second)

    def prediction(self, images: Pictures, support: Support, found: Found) -> Prediction:
        """What was found, in the square; and how much it resembles the reference."""
        embedding, target = images.sam.embedding.float(), support.target.mean
        size = (self.image_size, self.image_size)
        logits = F.interpolate(found.low[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        logits = logits.masked_fill(
            self.geometry.paddings(images.sizes).to(logits.device), ABSENT_LOGIT
        )
        inside = F.adaptive_avg_pool2d((logits > 0).float()[:, None], embedding.shape[-1])
        resemblance = F.cosine_similarity((embedding * inside).sum((2, 3)), target, dim=1)
        best = cosine_map(embedding, target).flatten(1).amax(1)
        quality = found.quality.clamp(0, 1)
        signals = torch.stack([resemblance, best, quality], dim=1)
        presence = (self.presence_scale or PRESENCE)(signals)
        presence = presence * (logits > 0).flatten(1).any(1)
        return Prediction(logits, quality, presence, signals)

    def frames(self, images: Pictures) -> list[Frame]:
        """Where each picture lies in the square."""
        sizes = [tuple(size) for size in images.sizes.tolist()]
        return [Frame(size, self.geometry.content(size), self.image_size) for size in sizes]

    def cells(self, images: Pictures, masks: Tensor) -> Tensor:
        """The places of the embedding that are each mask's, N x s x s bool."""
        side = self.segmenter.embedding_size
        if self.rules.mask_value is None:
            return target_cells(masks, side)
        values = masks.float() * self.rules.mask_value
        values = values.masked_fill(
            self.geometry.paddings(images.sizes).to(masks.device), torch.nan
        )
        cells = released_mask(values, side) > 0
        if not cells.flatten(1).any(1).all():
            raise ValueError("empty support mask: nothing is left of it as the release reads masks")
        return cells

    def _train(self, images: Pictures, masks: Tensor, target: Target) -> Tensor:
        """PerSAM-F's weights of the proposals for each reference: N x 3."""
        frames = self.frames(images)
        cosines = cosine_map(images.sam.embedding, target.mixed)
        points = [highest_places(locate(one, f)) for one, f in zip(cosines, frames, strict=True)]
        decoder = Decoder(self.segmenter, images.sam, frames, torch.stack(points), [POINT_POSITIVE])
        own = [f.within_square().own_mask(mask) for mask, f in zip(masks, frames, strict=True)]
        return fit_weights(decoder, own, self.training_plan)
