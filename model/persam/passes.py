"""The decoder's passes over pictures: each refines what the one before has found.

Source: PerSAM, sections 3.2 and 3.3, and its release.
Shapes: B pictures or objects, s side of the embedding, H and W each picture's own size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from model.persam.frame import Frame, mask_box
from model.sam.sam1 import Sam
from model.sam.segmenter import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    NOT_A_POINT,
    DecodedMasks,
    SegmenterFeatures,
)

GuidedPass = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Found:
    """What a pass found of B objects."""

    low: Tensor
    """Logits of the square at low resolution, B x 4s x 4s, float32."""
    quality: Tensor
    """B: SAM's estimate of the IoU."""
    frames: Sequence[Frame]
    stand_in: "Found | None" = None
    """Whose boxes count where a mask is empty."""

    @cached_property
    def corners(self) -> list[Tensor | None]:
        """The box of each mask in its picture's pixels; None where nothing was found."""
        restored = (frame.restore(self.low[i : i + 1])[0] for i, frame in enumerate(self.frames))
        boxes = [mask_box(logits > 0) for logits in restored]
        if self.stand_in is None or all(box is not None for box in boxes):
            return boxes
        pairs = zip(boxes, self.stand_in.corners, strict=True)
        return [other if box is None else box for box, other in pairs]

    @property
    def boxes(self) -> Tensor:
        """B x 4: left, top, right, bottom; the whole picture where nothing was found."""
        boxes = [
            frame.whole.to(self.low.device) if box is None else box
            for box, frame in zip(self.corners, self.frames, strict=True)
        ]
        return torch.stack(boxes)

    def or_else(self, earlier: "Found") -> "Found":
        """The same, but where nothing was found what an earlier pass had."""
        return self._with([box is None for box in self.corners], earlier)

    def then(self, later: "Found") -> "Found":
        """What a later pass made of it, where both found something."""
        pairs = zip(self.corners, later.corners, strict=True)
        return self._with([a is not None and b is not None for a, b in pairs], later)

    def _with(self, rows: list[bool], other: "Found") -> "Found":
        """The same with some rows of another."""
        if not any(rows) or all(rows):
            return other if any(rows) else self
        taken = torch.tensor(rows, device=self.low.device)
        low = other.low.where(taken.view(-1, 1, 1), self.low)
        return Found(low, other.quality.where(taken, self.quality), self.frames)


class Decoder:
    """SAM's decoder on B encoded pictures with fixed points; box and mask change with each pass."""

    def __init__(
        self,
        sam: Sam,
        features: SegmenterFeatures,
        frames: Sequence[Frame],
        points: Tensor,
        labels: Sequence[int],
    ) -> None:
        """Place the points.

        Args:
            points: in the pictures' own pixels, B x N x 2.
            labels: N, as in `model.sam.segmenter`.
        """
        self.sam, self.features, self.frames, self.labels = sam, features, frames, list(labels)
        self._points = self._placed(points)

    def decode(
        self,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        guided: GuidedPass | None = None,
    ) -> DecodedMasks:
        """The single mask and three proposals of each picture; logits in float32.

        Args:
            boxes: in the pictures' own pixels, B x 4.
            masks: logits of the pass before, B x 4s x 4s; a SAM that never learned to take such
                prompts goes without.
            guided: a transformer in the place of the decoder's own.
        """
        if boxes is None:
            extra, kinds = torch.zeros_like(self._points[:, :1]), [NOT_A_POINT]
        else:
            extra = self._placed(boxes.unflatten(1, (2, 2)))
            kinds = [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
        points = torch.cat([self._points, extra], dim=1)
        labels = torch.tensor(self.labels + kinds, device=points.device)
        tokens = self.sam.point_tokens(points, labels.expand(len(points), -1))
        prompted = masks is not None and self.sam.takes_masks
        dense = self.sam.embed_masks(masks[:, None]) if prompted else None
        transformer = guided or self.sam.mask_decoder.transformer
        decoded = self.sam.decode_with(transformer, self.features, tokens, dense)
        return decoded._replace(logits=decoded.logits.float(), quality=decoded.quality.float())

    def single(self, decoded: DecodedMasks) -> Found:
        """The mask that SAM draws where it is asked for one."""
        return Found(decoded.logits[:, 0], decoded.quality[:, 0], self.frames)

    def best(self, decoded: DecodedMasks) -> Found:
        """The proposal which SAM itself takes for the best."""
        return self.chosen(decoded, decoded.quality[:, 1:].argmax(1))

    def chosen(self, decoded: DecodedMasks, proposals: Tensor) -> Found:
        """Proposals by number, 0 to 2: B."""
        rows = torch.arange(len(proposals), device=proposals.device)
        return Found(
            decoded.logits[rows, 1 + proposals], decoded.quality[rows, 1 + proposals], self.frames
        )

    def weighted(self, decoded: DecodedMasks, weights: Tensor) -> Found:
        """A sum of the proposals by weights, B x 3; its box is the best one's where it is empty."""
        low = torch.einsum("bm,bmhw->bhw", weights, decoded.logits[:, 1:])
        quality = (weights * decoded.quality[:, 1:]).sum(1)
        return Found(low, quality, self.frames, stand_in=self.best(decoded))

    def refine(self, found: Found, times: int = 1) -> Found:
        """Ask again by box and logits of what was found; an empty answer changes nothing."""
        for _ in range(times):
            found = found.then(self.best(self.decode(found.boxes, found.low)))
        return found

    def _placed(self, points: Tensor) -> Tensor:
        """Points of each picture's own pixels, B x N x 2, in the square."""
        return torch.stack([f.to_square(p) for f, p in zip(self.frames, points, strict=True)])
