"""A video in which objects are found again by their identity tokens.

Shapes: N objects, C channels, S the canvas' side, W side of mask logits, H and W a frame's size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from model.method_data import Prediction
from model.sam.sam2 import ABSENT_LOGIT
from model.sam.video_predictor import GIVEN_LOGIT, FramePrediction
from model.sine.canvas import Canvas
from model.sine.features import SineFeatures, SineSupport
from model.sine.former import Answer, MFormer
from model.sine.memory import MemoryRules, ObjectMemory, RememberedFrame
from model.sine.references import MaskedSums, pool
from model.sine.results import enlarge

SURE = 10.0
"""The object's logit where its score is 1."""
_LEAST = 0.01
EPSILON = 1e-6


@dataclass(frozen=True)
class VideoRules:
    """How objects are followed; the defaults are ours, see docs/methods/sine.md."""

    memory: MemoryRules = field(default_factory=MemoryRules)
    echo_given: bool = True
    """Frames on which masks are given show them; else they show, and remember, what is found."""
    overlap: str = "best"
    """One of `OVERLAPS`."""
    age_step: float = 1.0
    """By how much a frame ages from one to the next."""


class Follower(Protocol):
    """What a video needs of `model.sine.network.Sine`; see there."""

    former: MFormer
    plain_pooling: bool

    def encode(self, images: Tensor) -> SineFeatures: ...

    def predict_together(
        self, images: SineFeatures, supports: Sequence[SineSupport]
    ) -> list[Prediction]: ...


@dataclass
class Row:
    """One object of a video."""

    support: SineSupport | None = None
    """What it is looked for by until it is found; None: it was given."""
    memory: ObjectMemory | None = None
    """None: it was not seen yet."""


@dataclass(frozen=True)
class Tracked:
    """Objects that were found again in a frame."""

    answer: Answer
    """Of one frame."""
    logits: Tensor
    """N x S x S."""
    masks: Tensor
    """At the size at which they are decided, bool."""
    scores: Tensor
    """N, in [0, 1]; 0 for an empty mask."""


class SineVideo:
    """A running video: each frame is encoded once, and all objects share one pass.

    A concept is looked for as in a picture until it is found. From then on it is an object like
    those whose masks are given.
    """

    def __init__(
        self,
        model: Follower,
        canvas: Canvas,
        supports: Sequence[SineSupport],
        rules: VideoRules,
        prompt_every: int = 0,
    ) -> None:
        """Begin before the first frame.

        Args:
            canvas: on which frames come.
            supports: of concepts, each of one support (B = 1).
            prompt_every: look for concepts as in a picture every so many frames, and forget the
                video where they are found; 0: only until they are.

        Raises:
            ValueError: `prompt_every` is negative.
        """
        if prompt_every < 0:
            raise ValueError(f"prompt_every is 0 or more frames, not {prompt_every}")
        self.model, self.canvas, self.rules = model, canvas, rules
        self.prompt_every = prompt_every
        self.rows = [Row(support) for support in supports]
        """Concepts, then objects in the order in which they were given."""
        self.index = 0
        """Number of the next frame."""

    @torch.no_grad()
    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame, 1 x 3 x S x S; see `model.method_data.VideoState`.

        Args:
            masks: of objects that begin on this frame, N x H x W bool.
            sizes: the frame's own height and width, 1 x 2; None: S and S.
        """
        if not self.rows and masks is None:
            raise ValueError("nothing to segment: this video was begun without a support or a mask")
        height, width = images.shape[-2:] if sizes is None else sizes[0].tolist()
        frame = Frame(self.model.encode(images), self.canvas, (height, width))
        shown: dict[int, tuple[Tensor, float]] = self._look_for_concepts(frame)
        if masks is not None:
            shown |= self._take(frame, masks)
        again = [n for n, row in enumerate(self.rows) if row.memory is not None and n not in shown]
        if not self.rules.echo_given:
            again += [n for n in shown if self.rows[n].support is None]
        if again:
            found = self.track(frame, sorted(again))
            self._remember(frame, found, sorted(again))
            for place, number in enumerate(sorted(again)):
                shown[number] = (found.logits[place], float(found.scores[place]))
        self.index += 1
        return self._joined(shown, images)

    def track(self, frame: "Frame", numbers: Sequence[int]) -> Tracked:
        """Find objects again in a frame, all in one pass."""
        sums = [self.rows[number].memory.sums() for number in numbers]
        known = MaskedSums(
            torch.stack([one.total for one in sums]), torch.stack([one.count for one in sums])
        ).tokens()[None]
        answer = self.model.former(frame.features.maps, known, known)[-1]
        masks, sureness = frame.decide(answer.identity_masks[0])
        logits = enlarge(answer.identity_masks[0], self.canvas.side)
        return Tracked(answer, logits, masks, answer.presence[0] * sureness)

    def _look_for_concepts(self, frame: "Frame") -> dict[int, tuple[Tensor, float]]:
        """Those that were not found yet, or that it is time for; their numbers, with logits and
        scores where they are found."""
        time = self.prompt_every and self.index % self.prompt_every == 0
        wanted = [
            number
            for number, row in enumerate(self.rows)
            if row.support is not None and (row.memory is None or time)
        ]
        if not wanted:
            return {}
        supports = [self.rows[number].support for number in wanted]
        shown = {}
        for number, found in zip(
            wanted, self.model.predict_together(frame.features, supports), strict=True
        ):
            mask, _ = frame.decide(found.logits)
            if mask.any():
                self._begin(number, frame, mask)
                shown[number] = (found.logits[0], float(found.presence[0]))
        return shown

    def _take(self, frame: "Frame", masks: Tensor) -> dict[int, tuple[Tensor, float]]:
        """Begin with objects whose masks are given."""
        shown = {}
        for mask in masks.cpu().numpy():
            self.rows.append(Row())
            whole = self.canvas.mark(mask).to(frame.features.maps.device)
            self._begin(len(self.rows) - 1, frame, whole[None], on_canvas=True)
            shown[len(self.rows) - 1] = (GIVEN_LOGIT * (2 * whole - 1), 1.0)
        return shown

    def _begin(self, number: int, frame: "Frame", mask: Tensor, on_canvas: bool = False) -> None:
        """Remember an object's first frame, by its mask, 1 x any size."""
        whole = mask if on_canvas else frame.replace(mask)
        sums = pool(frame.features.maps, whole, self.model.plain_pooling)
        first = RememberedFrame(self.index * self.rules.age_step, 1.0, sums[0])
        self.rows[number].memory = ObjectMemory(self.rules.memory, first)

    def _remember(self, frame: "Frame", found: Tracked, numbers: Sequence[int]) -> None:
        """Let every memory take what was found."""
        sums = pool(frame.features.maps, frame.replace(found.masks), self.model.plain_pooling)
        now = self.index * self.rules.age_step
        for place, number in enumerate(numbers):
            seen = RememberedFrame(now, float(found.scores[place]), sums[place])
            self.rows[number].memory.add(seen)

    def _joined(self, shown: dict[int, tuple[Tensor, float]], images: Tensor) -> FramePrediction:
        """All objects in their order."""
        size = (len(self.rows), *images.shape[-2:])
        raw = torch.full(size, ABSENT_LOGIT, device=images.device)
        scores = torch.zeros(len(self.rows), device=images.device)
        for number, (logits, score) in shown.items():
            raw[number], scores[number] = logits, score
        drawn = (raw > 0).flatten(1).any(1)
        logits = raw.masked_fill(~drawn[:, None, None], ABSENT_LOGIT)
        if self.rules.overlap != "best":
            by_score = self.rules.overlap == "score"
            ranks = scores if by_score else torch.arange(len(scores), device=scores.device)
            logits = highest_rank_wins(logits, ranks)
        return FramePrediction(
            logits=logits,
            quality=scores,
            # whatever was drawn is there, as the procedure has it; the score tells how sure that is
            object_logit=torch.where(drawn, SURE * scores.clamp_min(_LEAST), -SURE),
            raw_logits=raw,
        )


@dataclass(frozen=True)
class Frame:
    """An encoded frame."""

    features: SineFeatures
    canvas: Canvas
    size: tuple[int, int]
    """H and W."""

    def decide(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Masks, and the mean probability inside of each (N; 0 for an empty one).

        Args:
            logits: N x any side of the canvas.
        """
        values = self.canvas.decided(logits, self.size)
        masks = values > 0
        area = masks.flatten(1).sum(1)
        return masks, (values.sigmoid() * masks).flatten(1).sum(1) / (area + EPSILON)

    def replace(self, masks: Tensor) -> Tensor:
        """Decided masks on the canvas, N x S x S."""
        return self.canvas.replaced(masks, self.size)


def highest_rank_wins(logits: Tensor, ranks: Tensor) -> Tensor:
    """Logits, N x S x S, of which the one of the highest rank (N; of equal ones the first) of those
    above 0 has a pixel, whatever the others are."""
    order = ranks.argsort(descending=True, stable=True)
    inside = logits[order] > 0
    taken = torch.empty_like(inside)
    taken[order] = inside & (inside.cumsum(0) > 1)
    return torch.where(taken, -logits, logits)
