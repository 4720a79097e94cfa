"""Masks at a picture's own size: the argmax over concepts.

Shapes: C concepts, S the network's image size, H and W a picture's own size.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.instances import Instances

STRIP = 2**24
"""Logits enlarged at a time, so that huge pictures need little memory."""

Size = tuple[int, int]
"""Height and width."""


class ConceptMask(NamedTuple):
    """One concept in one picture."""

    mask: np.ndarray
    """H x W bool."""
    score: float
    """In [0, 1]: a picture's presence (see `model.presence`), or SAM 2's score of a frame."""


class LabelMap(NamedTuple):
    """Several concepts in one picture; each pixel belongs to at most one."""

    labels: np.ndarray
    """H x W uint8: 0 where there is none, else 1 + the position of the concept."""
    scores: tuple[float, ...]
    """The presence of each concept, also of those below the threshold."""


class Found(NamedTuple):
    """Several concepts in one picture, before any threshold."""

    logits: Tensor
    """C x h x w, for `label_map`."""
    scores: tuple[float, ...]
    """The presence of each concept, in [0, 1]."""
    objects: tuple[Tensor | None, ...]
    """Of each concept the separate objects, N x h x w bool, where the method has proposals."""
    instances: Instances | None = None
    """The objects of all concepts, h x w, where the method scores them and they were asked for."""

    def label_map(self, size: Size, threshold: float) -> LabelMap:
        """Let the concepts whose score is not below a threshold share the pixels of a picture."""
        present = [c for c, score in enumerate(self.scores) if score >= threshold]
        return LabelMap(label_map(self.logits, present, size), self.scores)


def label_map(logits: Tensor, present: Sequence[int], size: Size, least: float = 0.0) -> np.ndarray:
    """Argmax over concepts: 0 or 1 + the position of a present one, H x W uint8.

    Args:
        logits: C x S x S.
        least: pixels whose highest logit is not above it are background.
    """
    labels = np.zeros(size, dtype=np.uint8)
    if not present:
        return labels
    number = torch.tensor([1 + c for c in present], dtype=torch.uint8, device=logits.device)
    for top, strip in resized_strips(logits[list(present)], size):
        highest, winner = strip.max(dim=0)
        claimed = number[winner] * (highest > least)
        labels[top : top + strip.shape[1]] = claimed.cpu().numpy()
    return labels


def resized_strips(logits: Tensor, size: Size, strip: int = STRIP) -> Iterator[tuple[int, Tensor]]:
    """Resize C x S x S logits to C x H x W, bilinear with align_corners=False, in strips of rows.

    Args:
        strip: how many values may be made at a time.

    Yields:
        The first row of each strip, and the strip.
    """
    (height, width), side = size, logits.shape[1]
    rows = max(1, strip // (logits.shape[0] * width))
    if rows >= height:
        yield 0, F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
        return
    place = (torch.arange(height, device=logits.device) + 0.5) * side / height - 0.5
    place = place.clamp(0, side - 1)
    above = place.long()
    below = (above + 1).clamp_max(side - 1)
    share = (place - above).view(-1, 1)
    for top in range(0, height, rows):
        some = slice(top, top + rows)
        mixed = torch.lerp(logits[:, above[some]], logits[:, below[some]], share[some])
        wide = (mixed.shape[1], width)
        yield top, F.interpolate(mixed[None], wide, mode="bilinear", align_corners=False)[0]
