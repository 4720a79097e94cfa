"""A video as more frames after the references, each segmented from memory.

Shapes: N objects, H and W the side of frames.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from model.sam.memory_bank import MemoryBank
from model.sam.sam2 import ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures
from model.sam.video_predictor import FramePrediction
from model.sansa.features import EncodedImages, Support


class Tracker(Protocol):
    """What a video needs of `model.sansa.network.Sansa`; see there."""

    segmenter: Sam2

    def encode(self, images: Tensor) -> EncodedImages: ...

    def track(self, features: SegmenterFeatures, bank: MemoryBank, index: int) -> ObjectMask: ...

    def enlarge(self, logits: Tensor, size: tuple[int, int]) -> Tensor: ...


class SansaVideo:
    """Segments a video frame by frame; what it remembers does not grow with the video.

    Args:
        supports: of N concepts, one support each (B = 1), or several in one (B > 1).
        prompt_every: forget the video, but not the references, every so many frames; 0: never.

    Raises:
        ValueError: no support, or `prompt_every` is negative.
    """

    def __init__(self, model: Tracker, supports: Sequence[Support], prompt_every: int = 0) -> None:
        if not supports:
            raise ValueError("nothing to segment: this video was begun without a support")
        if prompt_every < 0:
            raise ValueError(f"prompt_every is 0 or more frames, not {prompt_every}")
        self.model, self.supports, self.prompt_every = model, list(supports), prompt_every
        self.index = 0
        """Number of the next frame."""
        self._begin()

    def _begin(self) -> None:
        """Remember the references and nothing else."""
        self._since = 0
        self.banks = [support.remembered(self.model.segmenter) for support in self.supports]

    @torch.no_grad()
    def step(self, images: Tensor, *, sizes: Tensor | None = None) -> FramePrediction:
        """Segment the next frame, 1 x 3 x H x W.

        Args:
            sizes: of no use, as frames are squashed.
        """
        model, segmenter = self.model, self.model.segmenter
        if self.prompt_every and self.index and self.index % self.prompt_every == 0:
            self._begin()
        features = model.encode(images).sam
        parts = []
        for support, bank in zip(self.supports, self.banks, strict=True):
            shown = features.expand(bank.batch)
            number = len(support.memories) + self._since
            found = model.track(shown, bank, number)
            bank.add(number, segmenter.encode_memory(shown, found, binary=False), prompted=False)
            parts.append(found)
        self.index, self._since = self.index + 1, self._since + 1
        logits = torch.cat([model.enlarge(found.logits, images.shape[-2:]) for found in parts])
        return FramePrediction(
            logits=logits,
            quality=torch.cat([found.quality.squeeze(1) for found in parts]).float(),
            object_logit=torch.cat([found.object_logit.squeeze(1) for found in parts]).float(),
            raw_logits=logits,
        )
