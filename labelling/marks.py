"""What marks the object in a reference, as the command line has it: a mask, points, box, scribble.

    dog_mask.png              a mask of the picture's size
    box:40,60,300,420         left, top, right and bottom
    points:120,80;200,90      x and y of places on the object
    scribble:strokes.png      strokes on the object, on a picture of the same size

Coordinates are pixels of the upright picture, from its upper left corner.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from common.errors import UsageError
from common.images import open_image

BRIGHT = 128
"""From this shade or opacity on, a pixel belongs to a stroke."""

_WORDS = {"box": "box", "point": "point", "points": "point", "scribble": "scribble"}
"""What the command line says -> kind of mark."""


@dataclass(frozen=True)
class Mark:
    """What marks an object, and where."""

    text: str
    """As it was given."""
    kind: str
    """One of `common.kinds.KINDS`."""
    path: Path | None = None
    """The file of a mask or scribble."""
    numbers: tuple[float, ...] = ()
    """Of a box its sides, of points x and y in turn."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Understand a mark.

        Raises:
            UsageError: it begins like one of the forms above and does not go on so.
        """
        word, colon, rest = text.partition(":")
        kind = _WORDS.get(word) if colon else None
        if kind is None:
            return cls(text, "mask", Path(text))
        if kind == "scribble":
            return cls(text, kind, Path(rest))
        try:
            places = [[float(part) for part in place.split(",")] for place in rest.split(";")]
        except ValueError:
            places = []
        numbers = tuple(number for place in places for number in place)
        wanted = [4] if kind == "box" else [2] * len(places)
        if not places or [len(place) for place in places] != wanted:
            example = "box:40,60,300,420" if kind == "box" else "points:120,80;200,90"
            raise UsageError(
                f"cannot understand {' '.join(text.split())}: expected numbers as in {example}"
            )
        if not all(math.isfinite(number) for number in numbers):
            raise UsageError(f"cannot understand {text}: a number is not finite")
        if kind == "box" and not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
            raise UsageError(f"{text} is empty: a box is left,top,right,bottom")
        return cls(text, kind, numbers=numbers)

    def drawn(self, size: tuple[int, int], picture: Path) -> np.ndarray:
        """Where points, box or strokes lie on a picture of some height and width, H x W bool.

        Raises:
            UsageError: they lie outside, or the file of strokes is missing, broken, empty or of
                another size.
        """
        height, width = size
        if self.kind == "scribble":
            return _strokes(self.path, size, picture)
        marked = np.zeros(size, dtype=bool)
        columns, rows = np.array(self.numbers).reshape(-1, 2).T
        shown = f"{picture}, which is {width} x {height} pixels (upright)"
        if self.kind == "box":
            (left, right), (top, bottom) = columns.clip(0, width), rows.clip(0, height)
            marked[int(top) : math.ceil(bottom), int(left) : math.ceil(right)] = True
            if not marked.any():
                raise UsageError(f"{self.text} lies outside of {shown}")
        else:
            if min(columns.min(), rows.min()) < 0 or columns.max() >= width or rows.max() >= height:
                raise UsageError(f"{self.text}: a point lies outside of {shown}")
            marked[rows.astype(int), columns.astype(int)] = True
        return marked


def _strokes(path: Path, size: tuple[int, int], picture: Path) -> np.ndarray:
    with open_image(path, "scribble") as stored:
        if (stored.height, stored.width) != size:
            raise UsageError(
                f"scribble {path} is {stored.width} x {stored.height} pixels, but its picture "
                f"{picture} is {size[1]} x {size[0]} (upright)"
            )
        opacity = np.asarray(stored.convert("RGBA").getchannel("A"))
        if opacity.min() < BRIGHT:
            marked = opacity >= BRIGHT
        elif stored.mode in ("1", "P"):
            marked = np.asarray(stored) > 0
        elif stored.mode == "L":
            shades = np.asarray(stored)
            marked = shades >= min(BRIGHT, max(1, int(shades.max())))
        else:
            marked = np.asarray(stored.convert("RGB")).max(axis=2) >= BRIGHT
    if not marked.any():
        raise UsageError(f"empty scribble: {path} has no strokes")
    if marked.all():
        raise UsageError(f"scribble {path} marks everything: draw strokes on black or nothing")
    return marked


def visible_mark(marked: np.ndarray, kind: str) -> np.ndarray:
    """A mark as it is shown to people: points and strokes as thick as a hundredth of the side."""
    if kind in ("mask", "box"):
        return marked
    thickness = 1 + 2 * (max(marked.shape) // 100)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness, thickness))
    return cv2.dilate(marked.astype(np.uint8), disk) > 0
