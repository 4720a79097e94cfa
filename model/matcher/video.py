"""A video whose objects are given by masks, matched with what is remembered of earlier frames.

Source: the branch vos-dev of Matcher's released program.
Shapes: N objects, T = h x w patches of a frame, S side of the square, H and W the rectangle of it
that shows a frame, P matched places, Q prompts.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.backbones.backbone import Backbone
from model.matcher.decoder import PictureDecoder
from model.matcher.frames import WideFrames
from model.matcher.matching import cosine_similarity
from model.matcher.objects import (
    match_objects,
    place_similarity,
    place_weight,
    trusted_centres,
    voted,
)
from model.matcher.pictures import encode_for_sam, grey_levels, point_tokens, size_for_sam
from model.matcher.prompts import subsets
from model.matcher.proposals import enlarge
from model.matcher.selection import earth_mover_scores, purity_and_coverage
from model.matcher.settings import Setting
from model.sam.sam1 import Sam
from model.sam.video_predictor import FramePrediction

_REMEMBERED = 2
"""Frames besides the given ones and the last."""
_FORGOTTEN = 25
"""Frames after which a score is worth nothing."""
_SHOWN = 0.3
"""Share of a patch that a mask covers where it is the object's."""
_ALPHA = 0.4
"""Weight of the earth mover's score."""
_NEAR, _RELATIVE = 0.75, 0.85
"""What the earth mover's score has to reach, as it is and between the lowest and highest."""
_MERGED, _GOOD = 5, 0.7
"""Masks that are united at most, and the score from which they are not only the better half."""
_PLACES = 16 * 64 * 64
"""Of the embedding, over prompts that are decoded together."""
_SURE = 10.0


@dataclass(frozen=True)
class VideoFrame:
    """A frame after the frozen networks."""

    patches: Tensor
    """Unit features, T x C."""
    grid: tuple[int, int]
    """h and w."""
    decoder: PictureDecoder
    key: int
    """Made of the pixels: what random prompts are seeded with."""


class FrameMatcher(Protocol):
    """What a video needs of `model.matcher.network.Matcher`; see there."""

    backbone: Backbone
    segmenter: Sam
    setting: Setting
    seed: int


@dataclass(frozen=True)
class Remembered:
    """A frame that others are matched with."""

    index: int
    patches: Tensor
    """Unit features, T x C."""
    parts: dict[int, np.ndarray]
    """Object -> its patches; of those that are seen."""
    score: float

    def value(self, now: int) -> float:
        """What its score is worth on a later frame."""
        return self.score * max(0.0, 1 - (now - self.index) / _FORGOTTEN)


class MatcherVideo:
    """A running video; objects may be given on any frame, and compete for patches."""

    def __init__(self, model: FrameMatcher, geometry: WideFrames) -> None:
        """Begin before the first frame."""
        self.model, self.geometry = model, geometry
        self.index = 0
        """Number of the next frame."""
        self.begun: list[int] = []
        """On which frame each object was given."""
        self.given: list[Remembered] = []
        self.memory: list[Remembered] = []
        """The last frame is the last one."""

    @torch.no_grad()
    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame; see `model.method_data.VideoState`."""
        if not self.begun and masks is None:
            raise ValueError("nothing to segment: no mask was given yet")
        size = tuple(images.shape[-2:]) if sizes is None else tuple(sizes[0].tolist())
        content = self.geometry.content(size)
        frame = self._encode(images[..., : content[0], : content[1]])
        old, squares = len(self.begun), None
        if masks is not None:
            squares = self.geometry.masks(masks).to(images.device)
            shown = squares[:, : content[0], : content[1]] > 0
            parts = {old + n: self._patches(one, frame.grid) for n, one in enumerate(shown)}
            self.given.append(Remembered(self.index, frame.patches, parts, 1.0))
            self.begun += [self.index] * len(masks)
        found = self._find(frame, content)
        self._remember(frame, found)
        self.index += 1
        prediction = self._prediction(found, images.shape[-2:])
        if squares is None:
            return prediction
        # what is found of the new ones is remembered; their result are the masks themselves
        return FramePrediction.join([prediction[:old], FramePrediction.of_masks(squares)])

    def _encode(self, shown: Tensor) -> VideoFrame:
        """Take in a frame, 1 x 3 x H x W."""
        patches = self.model.backbone.extract(shown).trunk[0].float()
        # cut off, not rounded; what was whole before it was normalised stays so
        pixels = (grey_levels(shown, whole=False) + 1e-3).floor()
        return VideoFrame(
            F.normalize(patches.flatten(1).T, dim=1),
            tuple(patches.shape[-2:]),
            PictureDecoder(self.model.segmenter, encode_for_sam(self.model.segmenter, pixels)),
            zlib.crc32(pixels.byte().cpu().numpy().tobytes()),
        )

    def _find(self, frame: VideoFrame, content: tuple[int, int]) -> list[tuple[Tensor, float]]:
        """The mask of each object, H x W bool, and its score; an empty one where it is not seen."""
        references = [*self.given, *self.memory]
        count, patches = len(self.begun), len(frame.patches)
        nearness = place_similarity(frame.grid, frame.patches.shape[1] // 4 * 4)
        choices: list[list[np.ndarray]] = [[] for _ in range(count)]
        costs: list[list[np.ndarray]] = [[] for _ in range(count)]
        for reference in references:
            seen = sorted(reference.parts)
            if not seen:
                continue
            similarity = cosine_similarity(reference.patches, frame.patches)
            weighed = similarity + place_weight(self.index - reference.index) * nearness
            parts = [reference.parts[number] for number in seen]
            begins = [self.begun[number] == self.index for number in seen]
            matched = match_objects(weighed, parts, begins)
            for number, part, chosen in zip(seen, parts, matched, strict=True):
                choices[number].append(chosen)
                costs[number].append((1 - similarity[part]) / 2)
        found = []
        for number in range(count):
            chosen = voted(choices[number], patches)
            if len(chosen):
                found.append(self._segment(frame, content, chosen, costs[number], number))
            else:
                nowhere = torch.zeros(content, dtype=torch.bool, device=frame.patches.device)
                found.append((nowhere, 0.0))
        return found

    def _segment(
        self,
        frame: VideoFrame,
        content: tuple[int, int],
        chosen: np.ndarray,
        costs: Sequence[np.ndarray],
        number: int,
    ) -> tuple[Tensor, float]:
        """The mask of one object, H x W bool, and its score.

        Args:
            chosen: its patches in this frame.
            costs: of moving its patches in each remembered frame to this frame's, F x T each.
            number: of the object.
        """
        patch = content[0] // frame.grid[0]
        columns, rows = chosen % frame.grid[1], chosen // frame.grid[1]
        points = np.stack([columns, rows], axis=1) * patch + patch // 2
        generator = np.random.default_rng((self.model.seed, frame.key, number))
        centres = trusted_centres(points, generator)
        masks, touched = self._propose(frame, content, centres, generator)
        purity, coverage = purity_and_coverage(masks, touched, points)
        emd = np.stack([earth_mover_scores(cost, touched) for cost in costs]).max(axis=0)
        scores = _ALPHA * emd + purity * coverage
        best = select(emd, scores)
        united = masks[torch.from_numpy(best).to(masks.device)].any(0)
        return united, float(scores[best].mean()) if united.any() else 0.0

    def _propose(
        self,
        frame: VideoFrame,
        content: tuple[int, int],
        centres: np.ndarray,
        generator: np.random.Generator,
    ) -> tuple[Tensor, np.ndarray]:
        """SAM's single mask for every subset of places: Q x H x W bool, and its patches, Q x T."""
        segmenter = self.model.segmenter
        tall, wide = size_for_sam(segmenter, content)
        together = max(1, _PLACES // frame.decoder.side**2)
        masks, touched = [], []
        for places in subsets(len(centres), self.model.setting.video_sizes, 0, generator):
            prompts = point_tokens(segmenter, centres[places], None, wide / content[1])
            for start in range(0, len(prompts), together):
                answers = frame.decoder.answer(prompts[start : start + together])
                wanted = torch.zeros_like(answers.quality, dtype=torch.bool)
                wanted[:, 0] = True
                low = frame.decoder.draw(answers, wanted)
                large = enlarge(low, [max(tall, wide)])[:, None, :tall, :wide]
                logits = F.interpolate(large, content, mode="bilinear", align_corners=False)
                mean = F.adaptive_avg_pool2d(logits, frame.grid).flatten(1)
                highest = mean == mean.amax(1, keepdim=True)
                inside = mean >= 0
                inside = inside.where(inside.any(1, keepdim=True), highest)
                masks.append(logits[:, 0] > 0)
                touched.append(inside.cpu().numpy())
        return torch.cat(masks), np.concatenate(touched)

    def _patches(self, mask: Tensor, grid: tuple[int, int]) -> np.ndarray:
        """Which patches are a mask's, H x W bool; those it touches where it covers none enough."""
        share = F.adaptive_avg_pool2d(mask[None, None].float(), grid).flatten().cpu().numpy()
        covered = np.flatnonzero(share > _SHOWN)
        return covered if len(covered) else np.flatnonzero(share > 0)

    def _remember(self, frame: VideoFrame, found: Sequence[tuple[Tensor, float]]) -> None:
        """Add this frame as the last; of those before it the most valuable stay."""
        *others, last = self.memory or [None]
        kept = sorted(
            [one for one in (*others, last) if one is not None],
            key=lambda one: (one.value(self.index), one.index),
        )[-_REMEMBERED:]
        parts = {n: self._patches(mask, frame.grid) for n, (mask, _) in enumerate(found)}
        parts = {number: part for number, part in parts.items() if len(part)}
        score = float(np.mean([score for _, score in found]))
        self.memory = [*kept, Remembered(self.index, frame.patches, parts, score)]

    def _prediction(
        self, found: Sequence[tuple[Tensor, float]], side: tuple[int, int]
    ) -> FramePrediction:
        """Masks as logits, the higher the more an object claims its pixels."""
        device = found[0][0].device
        scores = torch.tensor([score for _, score in found], device=device)
        claims = scores.clamp_min(0.01)
        if self.model.setting.video_overlap == "last":
            claims = torch.arange(1.0, len(found) + 1, device=device)
        masks = torch.stack([mask for mask, _ in found])
        logits = claims.view(-1, 1, 1) * (2 * masks.float() - 1)
        height, width = masks.shape[1:]
        logits = F.pad(logits, (0, side[1] - width, 0, side[0] - height), value=-1.0)
        drawn = masks.flatten(1).any(1)
        return FramePrediction(
            logits=logits,
            quality=scores.clamp_max(1.0),
            object_logit=torch.where(drawn, _SURE * scores.clamp_min(0.01), -_SURE),
            raw_logits=logits,
        )


def select(emd: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices of the proposals to be united, best first; never none.

    Args:
        emd: earth mover's scores, Q.
        scores: Q.
    """
    left = np.flatnonzero(emd >= min(_NEAR, emd.max()))
    lowest, highest = emd[left].min(), emd[left].max()
    left = left[emd[left] - lowest >= _RELATIVE * (highest - lowest)]
    _, first = np.unique(scores[left], return_index=True)  # equal scores are equal masks
    best = np.flip(left[first])[:_MERGED].copy()
    good = int((scores[best] >= _GOOD).sum())
    return best[: max(good, len(best) // 2, 1)]
