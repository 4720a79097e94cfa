"""Carry masks through a video with SAM 2's memory, whoever found or gave them.

Shapes: N objects, B videos side by side (N = B) or one (B = 1), C channels, S side of the
embedding, H and W frame height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.sam.memory_bank import MemoryBank
from model.sam.sam2 import ABSENT_LOGIT, ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures
from model.sam.video_wiring import STREAMING, VideoWiring

GIVEN_LOGIT = 10.0
"""Of the pixels of a given mask, as in SAM 2; outside it the negative."""


class Prompter(Protocol):
    """Segments the objects in a frame as in an image."""

    def __call__(
        self, images: Tensor, features: SegmenterFeatures
    ) -> tuple[ObjectMask, Tensor | None]:
        """N objects, and the logits of their pseudo masks, N x H x W, where there are such.

        Args:
            images: the frame, B x 3 x H x W.
            features: SAM 2's of it.
        """


@dataclass(frozen=True)
class FramePrediction:
    """The objects in one frame."""

    logits: Tensor
    """N x H x W, float32; `ABSENT_LOGIT` where an object is absent."""
    quality: Tensor
    """N: the decoder's own estimate of each mask's IoU."""
    object_logit: Tensor
    """N: SAM 2's object score, above 0 where the object is in the frame."""
    raw_logits: Tensor
    """N x H x W, float32: also where the object is absent; losses are computed on these."""
    pseudo_logits: Tensor | None = None
    """N x H x W: on prompted frames, the mask which the mediate prompts drew."""

    @property
    def masks(self) -> Tensor:
        """N x H x W, bool; empty where the object is absent."""
        return self.logits > 0

    def __getitem__(self, rows: slice) -> "FramePrediction":
        """Some of the objects, without pseudo masks."""
        return FramePrediction(
            self.logits[rows], self.quality[rows], self.object_logit[rows], self.raw_logits[rows]
        )

    @classmethod
    def of_masks(cls, masks: Tensor) -> "FramePrediction":
        """Masks that somebody gave, N x H x W of 0 and 1, as what was found."""
        logits = GIVEN_LOGIT * (2 * masks.float() - 1)
        sure = torch.ones(len(masks), device=masks.device)
        return cls(logits, sure, GIVEN_LOGIT * sure, logits)

    @classmethod
    def join(cls, parts: Sequence["FramePrediction"]) -> "FramePrediction":
        """The objects of several, in their order, without pseudo masks."""
        names = ("logits", "quality", "object_logit", "raw_logits")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class VideoPredictor:
    """Segments a video frame by frame; what it remembers does not grow with the video.

    Objects are found by a prompter on the first frame, or given as masks on any; those that appear
    together share a memory bank.
    """

    def __init__(
        self,
        segmenter: Sam2,
        prompter: Prompter | None = None,
        wiring: VideoWiring = STREAMING,
        prompt_every: int = 0,
        length: int | None = None,
        training: bool = False,
    ) -> None:
        """Begin before the first frame.

        Args:
            prompter: finds all N objects; None where their masks are given.
            prompt_every: prompt again every so many frames; 0: only on the first.
            length: frames of the video, where it is known.
            training: gradients flow through the memory, which is not rounded, and SAM 2's stability
                fallback is off.

        Raises:
            ValueError: the wiring needs the length, or `prompt_every` is negative.
        """
        if wiring.time_by_length and length is None:
            raise ValueError("this wiring needs to know how many frames the video has")
        if prompt_every < 0:
            raise ValueError(f"prompt_every is 0 or more frames, not {prompt_every}")
        self.segmenter, self.prompter, self.wiring = segmenter, prompter, wiring
        self.prompt_every, self.length, self.training = prompt_every, length, training
        self.index = 0
        """Number of the next frame."""
        self.banks: list[MemoryBank] = []
        """Of the objects that appeared together; in the order of their appearance."""

    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame.

        New objects take their masks; the others are prompted where it is time for that, else
        propagated from memory. They keep the order of their appearance.

        Args:
            images: normalised, B x 3 x H x W.
            masks: of objects that begin on this frame, 0 and 1, N x any height x any width. One
                that is empty is absent from this frame.
            sizes: of frames that were padded; those here are squashed.

        Raises:
            ValueError: masks are given where there is a prompter, or nothing was given yet.
        """
        if not (self.prompter or self.banks) and masks is None:
            raise ValueError("nothing to segment: no mask was given yet")
        if masks is not None and self.prompter:
            raise ValueError("a video is prompted or given masks, not both")
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            features = self.segmenter.encode(images)
            pseudo_logits = None
            prompting = self.prompter is not None and self._is_time_to_prompt()
            if prompting:
                found, pseudo_logits = self.prompter(images, features)
                parts = [found]
                self.banks = self.banks or [self.segmenter.new_memory_bank()]
            else:
                parts = [self._propagate(features, bank) for bank in self.banks]
            followed = len(parts)
            if masks is not None:
                parts.append(self._take(features, masks))
                self.banks.append(self.segmenter.new_memory_bank())
            for number, (bank, found) in enumerate(zip(self.banks, parts, strict=True)):
                self._encode_memory(features, found, bank, prompting, number >= followed)
            self.index += 1
            return self._joined(parts, images.shape[-2:], pseudo_logits)

    def _is_time_to_prompt(self) -> bool:
        again = self.prompt_every and self.index % self.prompt_every == 0
        return self.index == 0 or bool(again)

    def _propagate(self, features: SegmenterFeatures, bank: MemoryBank) -> ObjectMask:
        """Segment a bank's objects by what is remembered."""
        conditioned = self.segmenter.attend_memory(
            features.expand(bank.batch),
            bank,
            self.index,
            self.length if self.wiring.time_by_length else None,
        )
        tokens = self.segmenter.padding_tokens(len(conditioned.embedding))
        return self.segmenter.decode_object(
            conditioned,
            tokens if self.wiring.padding_tokens else tokens[:, :0],
            fallback=not self.training,
            best_of_three=self.wiring.best_of_three,
        )

    def _take(self, features: SegmenterFeatures, masks: Tensor) -> ObjectMask:
        """Take given masks for what the decoder found."""
        device, side = features.embedding.device, self.segmenter.image_size
        large = F.interpolate(
            masks.to(device).float()[:, None], (side, side), mode="bilinear", antialias=True
        )
        return self.segmenter.use_mask(features.expand(len(masks)), (large >= 0.5).float())

    def _encode_memory(
        self,
        features: SegmenterFeatures,
        found: ObjectMask,
        bank: MemoryBank,
        prompted: bool,
        given: bool,
    ) -> None:
        memory = self.segmenter.encode_memory(
            features.expand(len(found.pointer)), found, binary=prompted and not self.training
        )
        bank.add(
            self.index, memory if self.training else memory.rounded(), prompted=prompted or given
        )

    def _joined(
        self, parts: Sequence[ObjectMask], size: tuple[int, int], pseudo_logits: Tensor | None
    ) -> FramePrediction:
        """All objects in their order, at the frame's size."""
        large = [
            F.interpolate(
                found.logits.float(), size, mode="bilinear", align_corners=self.wiring.align_corners
            ).squeeze(1)
            for found in parts
        ]
        raw = torch.cat(large)
        present = torch.cat([found.object_logit.squeeze(1) for found in parts]).float()
        return FramePrediction(
            logits=raw.masked_fill(present.view(-1, 1, 1) <= 0, ABSENT_LOGIT),
            quality=torch.cat([found.quality.squeeze(1) for found in parts]).float(),
            object_logit=present,
            raw_logits=raw,
            pseudo_logits=pseudo_logits,
        )
