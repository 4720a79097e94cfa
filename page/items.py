"""The things that a visitor of the page works with: references, targets and what was found."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from model.label_map import Size, label_map
from model.presence import CALIBRATED_THRESHOLD
from model.sam.clicks import PromptedPicture


@dataclass(frozen=True)
class Shot:
    """A labelled picture."""

    photo: Path
    mask: Path
    """PNG of 0 and 255, of the size that the picture is read at."""
    thumbnail: Path

    def read_mask(self) -> np.ndarray:
        """H x W bool."""
        with Image.open(self.mask) as stored:
            return np.array(stored) > 0


@dataclass(frozen=True)
class Target:
    """A picture to label."""

    photo: Path
    name: str
    """Its file name, different from those of the others."""
    size: tuple[int, int]
    """Height and width, upright."""
    thumbnail: Path


@dataclass
class Draft:
    """The picture on the canvas."""

    photo: Path
    pixels: np.ndarray
    shown: np.ndarray
    """The same, no larger than the canvas."""
    given: np.ndarray | None = None
    """A mask that came as a file, at the size of `pixels`."""
    prompted: PromptedPicture | None = None


@dataclass(frozen=True)
class Thresholds:
    """What counts as found."""

    presence: float = 0.0
    """Least score of a picture, 0 to 1."""
    mask: float = 0.5
    """Least score of a pixel, between 0 and 1."""

    @classmethod
    def start(cls, calibrated: bool) -> "Thresholds":
        """Where the page starts: scores that are no probabilities leave nothing out."""
        return cls(CALIBRATED_THRESHOLD if calibrated else 0.0)

    @property
    def least(self) -> float:
        """The mask's threshold as a logit."""
        return math.log(self.mask / (1 - self.mask))


@dataclass(frozen=True)
class Found:
    """One picture after the network."""

    target: Target
    preview: Path
    logits: Tensor
    """1 x S x S."""
    score: float
    calibrated: bool
    """Whether the score is the probability that the picture shows the object."""

    def mask(self, thresholds: Thresholds, size: Size | None = None) -> np.ndarray:
        """H x W bool, at the picture's own size unless another is asked for."""
        present = [0] if self.score >= thresholds.presence else []
        return label_map(self.logits, present, size or self.target.size, thresholds.least) == 1
