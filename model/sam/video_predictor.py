"""Carry masks through a video with SAM 2's memory, whoever found or gave them.

Shapes: N objects, B videos side by side (N = B) or one (B = 1), C channels, S side of the
embedding, H and W frame height and width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.sam.memory_bank import MemoryBank
from model.sam.sam2 import ABSENT_LOGIT, ObjectMask, Sam2
from model.sam.segmenter import SegmenterFeatures


@dataclass(frozen=True)
class VideoWiring:
    """Where DC-SAM's release and the sam2 package propagate differently."""

    align_corners: bool = True
    """How logits are resized to the frames' size: as in the image model, or (False) as SAM 2's."""
    padding_tokens: bool = True
    """Frames without a prompt are decoded with SAM 2's "not a point" tokens, or with none."""
    time_by_length: bool = False
    """Time object pointers by the length of the video (where it has fewer than 16 frames), so that
    a frame's mask depends on how many frames follow it."""
    best_of_three: bool = False
    """On frames without a prompt take the best of three proposals instead of the single mask."""


STREAMING = VideoWiring()
"""DC-SAM here: no mask depends on a later frame."""
RELEASE_VIDEO = VideoWiring(align_corners=False, padding_tokens=False, time_by_length=True)
"""DC-SAM's release."""
PACKAGE_VIDEO = VideoWiring(align_corners=False, time_by_length=True, best_of_three=True)
"""SAM 2's own video predictor, for masks that are given on the first frame."""
WIRINGS = {"streaming": STREAMING, "release": RELEASE_VIDEO, "package": PACKAGE_VIDEO}


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
    """N x H x W, float32; `ABSENT_LOGIT` where an object is absent or was not given yet."""
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


class VideoPredictor:
    """Segments a video frame by frame; what it remembers does not grow with the video.

    Objects are found by a prompter on the first frame, or given as masks on any; those that appear
    together share a memory bank.
    """

    def __init__(
        self,
        segmenter: Sam2,
        count: int,
        prompter: Prompter | None = None,
        wiring: VideoWiring = STREAMING,
        prompt_every: int = 0,
        length: int | None = None,
        training: bool = False,
    ) -> None:
        """Begin before the first frame.

        Args:
            count: N.
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
        self.segmenter, self.count, self.prompter, self.wiring = segmenter, count, prompter, wiring
        self.prompt_every, self.length, self.training = prompt_every, length, training
        self.index = 0
        """Number of the next frame."""
        self.banks: list[tuple[list[int], MemoryBank]] = []
        """Objects that share a bank, and the bank."""

    def step(
        self,
        images: Tensor,
        masks: Mapping[int, Tensor] | None = None,
        *,
        sizes: Tensor | None = None,
    ) -> FramePrediction:
        """Segment the next frame.

        Objects with a mask take it; the others are prompted where it is time for that, else
        propagated from memory.

        Args:
            images: normalised, B x 3 x H x W.
            masks: object, 0 to N - 1 -> its mask on this frame, of 0 and 1 and of any size.
            sizes: of frames that were padded; those here are squashed.

        Raises:
            ValueError: masks are given where there is a prompter, or of an object for a second
                time.
        """
        if masks and self.prompter:
            raise ValueError("a video is prompted or given masks, not both")
        known = {row for rows, _ in self.banks for row in rows}
        if masks and known & masks.keys():
            raise ValueError(f"the mask of object {min(known & masks.keys())} was given before")
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            features = self.segmenter.encode(images)
            parts: list[tuple[list[int], ObjectMask]] = []
            pseudo_logits = None
            prompting = self.prompter is not None and self._is_time_to_prompt()
            if prompting:
                found, pseudo_logits = self.prompter(images, features)
                parts.append((list(range(self.count)), found))
                self.banks = self.banks or [(parts[0][0], self.segmenter.new_memory_bank())]
            else:
                parts += [(rows, self._propagate(features, bank)) for rows, bank in self.banks]
            if masks:
                parts.append((list(masks), self._take(features, list(masks.values()))))
                self.banks.append((list(masks), self.segmenter.new_memory_bank()))
            given = bool(masks)
            for number, ((_, bank), (_, found)) in enumerate(zip(self.banks, parts, strict=True)):
                new = given and number == len(parts) - 1
                self._encode_memory(features, found, bank, prompting, new)
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

    def _take(self, features: SegmenterFeatures, masks: Sequence[Tensor]) -> ObjectMask:
        """Take given masks for what the decoder found."""
        device, side = features.embedding.device, self.segmenter.image_size
        large = [
            F.interpolate(
                mask.to(device).float()[None, None], (side, side), mode="bilinear", antialias=True
            )
            for mask in masks
        ]
        return self.segmenter.use_mask(
            features.expand(len(masks)), (torch.cat(large) >= 0.5).float()
        )

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
        self,
        parts: Sequence[tuple[list[int], ObjectMask]],
        size: tuple[int, int],
        pseudo_logits: Tensor | None,
    ) -> FramePrediction:
        """All objects in their order, at the frame's size."""
        rows = [row for some, _ in parts for row in some]
        absent = [row for row in range(self.count) if row not in rows]  # not given yet
        places = [*rows, *absent]

        def whole(values: list[Tensor], shape: tuple[int, ...]) -> Tensor:
            missing = torch.full((len(absent), *shape), ABSENT_LOGIT, device=self.segmenter.device)
            joined = torch.cat([*values, missing])
            if places == sorted(places):
                return joined
            return joined[[places.index(row) for row in range(self.count)]]

        large = [
            F.interpolate(
                found.logits.float(), size, mode="bilinear", align_corners=self.wiring.align_corners
            ).squeeze(1)
            for _, found in parts
        ]
        raw = whole(large, size)
        present = whole([found.object_logit.squeeze(1) for _, found in parts], ())
        return FramePrediction(
            logits=raw.masked_fill(present.view(-1, 1, 1) <= 0, ABSENT_LOGIT),
            quality=whole([found.quality.squeeze(1) for _, found in parts], ()),
            object_logit=present,
            raw_logits=raw,
            pseudo_logits=pseudo_logits,
        )
