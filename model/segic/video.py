"""SegIC's own way through a video: each object by its first frame and its latest one.

Source: SegIC (arXiv 2311.14671), section 4.3, by the rules of its released program. There all
objects are given on the first frame; here they may begin on any.
Shapes: N objects, K shots, C channels of the backbone, M side of the square.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from model.method_data import Prediction
from model.presence import object_logit
from model.sam.segmenter import DecodedMasks
from model.sam.video_predictor import FramePrediction
from model.segic.features import Entities, SegicFeatures, SegicSupport
from model.segic.geometry import SegicGeometry
from model.segic.hints import mask_prototypes
from model.segic.text import INSTANCE


class Instructed(Protocol):
    """What a video needs of `model.segic.network.Segic`; see there."""

    geometry: SegicGeometry
    negative_clicks: bool
    """Tell each object where the others are, by a vector that the released weights never learned,
    as the released program does."""
    padded_prototype: bool
    """Take what is found beside the frame into the latest mean feature, as that program does."""

    def encode(self, images: Tensor, *, sizes: Tensor | None) -> SegicFeatures: ...

    def support(self, cells: Tensor, masks: Tensor, sentences: Sequence[str]) -> SegicSupport: ...

    def meta_tokens(self, sentences: Sequence[str]) -> Tensor: ...

    def decode(self, cells: Tensor, entities: Entities, negative_clicks: bool) -> DecodedMasks: ...

    def enlarge(self, low: Tensor) -> Tensor: ...

    def prediction(
        self, images: SegicFeatures, support: SegicSupport, low: Tensor
    ) -> Prediction: ...


@dataclass
class FollowedObject:
    """What is remembered of one object; it does not grow."""

    first: SegicSupport
    """Of its references, or of the frame on which its mask was given: B = 1."""
    latest: Tensor | None = None
    """Mean feature of the mask in the frame before, 1 x 1 x C; None: there was none yet."""

    @property
    def support(self) -> SegicSupport:
        """Where it is, is asked of the first alone; what it looks like, of both."""
        if self.latest is None:
            return self.first
        both = torch.cat([self.first.prototypes, self.latest], dim=1)
        return replace(self.first, prototypes=both)


class SegicVideo:
    """A running video of N objects, each of which sees the others as what it is not."""

    def __init__(
        self, model: Instructed, supports: Sequence[SegicSupport], prompt_every: int = 0
    ) -> None:
        """Begin before the first frame.

        Args:
            supports: of N concepts (B = 1); none where all objects are given by masks.
            prompt_every: forget the latest frame every so many frames; 0: never.

        Raises:
            ValueError: `prompt_every` is negative.
        """
        if prompt_every < 0:
            raise ValueError(f"prompt_every is 0 or more frames, not {prompt_every}")
        self.model, self.prompt_every = model, prompt_every
        self.objects = [FollowedObject(self._instance(support)) for support in supports]
        self.index = 0
        """Number of the next frame."""

    @torch.no_grad()
    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame, 1 x 3 x M x M; see `model.method_data.VideoState`."""
        if not self.objects and masks is None:
            raise ValueError("nothing to segment: this video was begun without a support or a mask")
        if self.prompt_every and self.index % self.prompt_every == 0:
            for one in self.objects:
                one.latest = None
        frame = self.model.encode(images, sizes=sizes)
        parts = [self._segment(frame)] if self.objects else []
        if masks is not None:
            parts.append(self._take(frame, masks.to(images.device)))
        self.index += 1
        return FramePrediction.join(parts)

    def _segment(self, frame: SegicFeatures) -> FramePrediction:
        """Find all objects that are known, and remember how they look now."""
        model, supports = self.model, [one.support for one in self.objects]
        decoded = model.decode(frame.cells, Entities.of(supports), model.negative_clicks)
        raw = model.enlarge(decoded.logits[:, 0])
        predictions = [
            model.prediction(frame, support, low)
            for support, low in zip(supports, decoded.logits[:, :1], strict=True)
        ]
        logits = torch.cat([one.logits for one in predictions])
        seen = raw if model.padded_prototype else logits
        latest = mask_prototypes(frame.cells, (seen > 0).float()[None])
        for one, prototype in zip(self.objects, latest.unbind(1), strict=True):
            one.latest = prototype[:, None]
        presence = torch.cat([one.presence for one in predictions])
        drawn = (logits > 0).flatten(1).any(1)
        return FramePrediction(
            logits=logits,
            quality=torch.cat([one.quality for one in predictions]),
            object_logit=object_logit(presence, drawn),
            raw_logits=raw,
        )

    def _take(self, frame: SegicFeatures, masks: Tensor) -> FramePrediction:
        """Begin with objects that are given in a frame, N x any height x any width."""
        squares = self.model.geometry.masks(masks)
        for square in squares:
            sentence = [INSTANCE]
            support = self.model.support(frame.cells[None], square[None, None], sentence)
            self.objects.append(FollowedObject(support))
        return FramePrediction.of_masks(squares)

    def _instance(self, support: SegicSupport) -> SegicSupport:
        """The same concept, of which only the sentence on single objects is said."""
        meta = self.model.meta_tokens([INSTANCE])
        return replace(support, meta=meta.expand(len(support.meta), -1))
