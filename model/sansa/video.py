"""A video as more frames after the references, each segmented from memory.

Shapes: N objects, H and W the side of frames.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from common.geometry import Geometry
from model.sam.memory_bank import MemoryBank
from model.sam.sam2 import ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures
from model.sam.video_predictor import FramePrediction
from model.sansa.features import EncodedImages, Support


class Tracker(Protocol):
    """What a video needs of `model.sansa.network.Sansa`; see there."""

    segmenter: Sam2
    geometry: Geometry

    def encode(self, images: Tensor) -> EncodedImages: ...

    def encode_support(self, images: EncodedImages, masks: Tensor) -> Support: ...

    def track(self, features: SegmenterFeatures, bank: MemoryBank, index: int) -> ObjectMask: ...

    def enlarge(self, logits: Tensor, size: tuple[int, int]) -> Tensor: ...


class SansaVideo:
    """Segments a video frame by frame; what it remembers does not grow with the video.

    An object that is given by a mask has its frame of the video as its reference.

    Args:
        supports: of N concepts, one support each (B = 1), or several in one (B > 1); none where
            all objects are given by masks.
        prompt_every: forget the video, but not the references, every so many frames; 0: never.

    Raises:
        ValueError: `prompt_every` is negative.
    """

    def __init__(self, model: Tracker, supports: Sequence[Support], prompt_every: int = 0) -> None:
        if prompt_every < 0:
            raise ValueError(f"prompt_every is 0 or more frames, not {prompt_every}")
        self.model, self.supports, self.prompt_every = model, list(supports), prompt_every
        self.index = 0
        """Number of the next frame."""
        self._begin()

    def _begin(self) -> None:
        """Remember the references and nothing else."""
        self.banks = [support.remembered(self.model.segmenter) for support in self.supports]
        self._numbers = [len(support.memories) for support in self.supports]
        """Of the next frame in each bank, references included."""

    @torch.no_grad()
    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame, 1 x 3 x H x W; see `model.method_data.VideoState`.

        Args:
            sizes: of no use, as frames are squashed.
        """
        if not self.supports and masks is None:
            raise ValueError("nothing to segment: this video was begun without a support or a mask")
        if self.prompt_every and self.index and self.index % self.prompt_every == 0:
            self._begin()
        encoded = self.model.encode(images)
        parts = [self._propagate(row, encoded) for row in range(len(self.supports))]
        if masks is not None:
            parts.append(self._take(encoded, masks))
        self.index += 1
        return FramePrediction.join(parts)

    def _propagate(self, row: int, encoded: EncodedImages) -> FramePrediction:
        """Segment the objects of one bank, and remember them."""
        bank, number = self.banks[row], self._numbers[row]
        features = encoded.sam.expand(bank.batch)
        found = self.model.track(features, bank, number)
        memory = self.model.segmenter.encode_memory(features, found, binary=False)
        bank.add(number, memory, prompted=False)
        self._numbers[row] += 1
        logits = self.model.enlarge(found.logits, encoded.size)
        quality, present = found.quality.squeeze(1), found.object_logit.squeeze(1)
        return FramePrediction(logits, quality.float(), present.float(), logits)

    def _take(self, encoded: EncodedImages, masks: Tensor) -> FramePrediction:
        """Begin with given masks of this frame, N x any height x any width."""
        squares = self.model.geometry.masks(masks).to(encoded.sam.embedding.device)
        frames = EncodedImages(encoded.sam.expand(len(masks)), encoded.size)
        support = self.model.encode_support(frames, squares[:, None])
        self.supports.append(support)
        self.banks.append(support.remembered(self.model.segmenter))
        self._numbers.append(len(support.memories))
        return FramePrediction.of_masks(squares)
