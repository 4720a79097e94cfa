"""The things that a visitor of the page works with: references, targets and what was found."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.images import Size
from model.sam.clicks import PromptedPicture
from model.thresholds import CALIBRATED_THRESHOLD


@dataclass(frozen=True)
class Mark:
    """What marks an object in a picture."""

    pixels: np.ndarray
    """H x W bool, at the size that the picture is read at."""
    kind: str = "mask"
    """One of `common.kinds.KINDS`."""


@dataclass(frozen=True)
class Shot:
    """A labelled picture."""

    photo: Path
    mark: Path
    """PNG of 0 and 255, of the size that the picture is read at."""
    kind: str
    """One of `common.kinds.KINDS`."""
    name: str
    """Of its class."""
    preview: Path
    """The picture as a thumbnail."""

    def read_mark(self) -> Mark:
        """What was marked."""
        with Image.open(self.mark) as stored:
            return Mark(np.array(stored) > 0, self.kind)


@dataclass(frozen=True)
class Target:
    """A picture to label."""

    photo: Path
    name: str
    """Its file name, different from those of the others."""
    size: Size
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
    """Least score of a picture or frame, 0 to 1."""
    mask: float = 0.5
    """Least score of a pixel, between 0 and 1."""
    apart: bool = False
    """Tell the objects of a class apart."""

    @classmethod
    def start(cls, calibrated: bool) -> "Thresholds":
        """Where the page starts: scores that are no probabilities leave nothing out."""
        return cls(CALIBRATED_THRESHOLD if calibrated else 0.0)

    @property
    def least(self) -> float:
        """The mask's threshold as a logit."""
        return math.log(self.mask / (1 - self.mask))
