"""Labelled pictures, what a method takes from them, and the small file that keeps them.

Shapes: H and W a picture's own size.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.errors import UsageError
from common.geometry import nearest, touched
from common.kinds import KINDS
from model.method_data import Support

LONGEST_SIDE = 2048
"""Larger references are made smaller: no method sees more of them, and their file stays small."""


@dataclass(frozen=True)
class Reference:
    """A picture with what marks the object in it."""

    pixels: np.ndarray
    """H x W x 3 uint8 RGB."""
    mark: np.ndarray
    """H x W bool, never empty: the mask, the points, the strokes, or the filled box."""
    kind: str = "mask"
    """One of `common.kinds.KINDS`."""

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: picture and mark do not fit, the mark is empty or of no known kind.
        """
        if self.pixels.shape[:2] != self.mark.shape:
            raise ValueError(
                f"a mask of {self.mark.shape[1]} x {self.mark.shape[0]} pixels for an image of "
                f"{self.pixels.shape[1]} x {self.pixels.shape[0]}"
            )
        if self.kind not in KINDS:
            raise ValueError(f"an object is marked by {', '.join(KINDS)}, not by a {self.kind}")
        if not self.mark.any():
            raise ValueError("empty mask: the reference marks no pixel")

    def reduced(self) -> Self:
        """The same with no side longer than `LONGEST_SIDE`; what is marked is not lost."""
        height, width = self.mark.shape
        scale = LONGEST_SIDE / max(height, width)
        if scale >= 1:
            return self
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        pixels = Image.fromarray(self.pixels).resize(size[::-1], Image.Resampling.BILINEAR)
        mark = nearest(self.mark, size)
        if self.kind != "mask" or not mark.any():
            mark = touched(self.mark, size)
        return type(self)(np.array(pixels), mark, self.kind)


@dataclass(frozen=True)
class LearnedConcept:
    """Labelled pictures of one concept, encoded; good for any number of other pictures."""

    name: str
    """What the concept is called."""
    references: tuple[Reference, ...]
    """The labelled pictures, also for other methods."""
    support: Support
    """What the method took from them."""

    def save(self, path: Path | str) -> None:
        """Write a small file that `InContextSegmenter.load` reads, also with another method.

        It holds the reference pictures and marks, not their features, which are many times larger.

        Raises:
            UsageError: the file cannot be written.
        """
        tensors = {}
        for number, reference in enumerate(self.references):
            tensors[f"picture{number}"] = _packed(reference.pixels)
            tensors[f"mark{number}"] = _packed(reference.mark)
        kinds = [reference.kind for reference in self.references]
        save_checkpoint(Path(path), tensors, {"concept": self.name, "kinds": kinds})


def read_references(path: Path) -> tuple[str, Sequence[Reference]]:
    """The name and the labelled pictures which a learned concept was saved with.

    Raises:
        UsageError: the file is missing, broken or no concept.
    """
    facts = read_facts(path)
    if "concept" not in facts or "kinds" not in facts:
        raise UsageError(f"{path} is no concept: it was not written by LearnedConcept.save")
    tensors = read_weights(path)
    try:
        references = [
            Reference(_unpacked(tensors[f"picture{n}"]), _unpacked(tensors[f"mark{n}"]) > 0, kind)
            for n, kind in enumerate(facts["kinds"])
        ]
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"{path} is a broken concept: {error}") from None
    return facts["concept"], references


def _packed(pixels: np.ndarray) -> Tensor:
    """A picture or mask as the bytes of a PNG, uint8."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)


def _unpacked(stored: Tensor) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(stored.numpy().tobytes())))
