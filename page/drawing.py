"""How pictures, masks and classes are shown: sizes, colours, and the legend."""

import html
from collections.abc import Sequence

import numpy as np
from PIL import Image

from common.video_io import davis_palette
from common.visualize import Colour, overlay
from page.canvas import resized

CANVAS_SIDE, THUMBNAIL_SIDE, PREVIEW_SIDE = 960, 320, 720
"""The longer side of a picture on the canvas, of a thumbnail, and of a result."""

_BRIGHT = 7
"""Classes that differ by hue in DAVIS' palette; later ones differ by brightness."""
_DOT = 160
"""A point on a picture is drawn as large as its longer side divided by this."""


def fitted(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture made smaller, where its longer side is longer than that."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.array(picture)


def class_colour(number: int) -> Colour:
    """The colour of a class, 1 to 255: that of the saved masks, brighter for the first ones."""
    colour = davis_palette()[number].astype(int)
    if number <= _BRIGHT:
        colour = colour * 255 // colour.max()
    return tuple(colour.tolist())


def label_classes(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A picture with each class in its colour.

    Args:
        pixels: H x W x 3 uint8.
        labels: H x W, 0 or the number of a class.
    """
    for number in np.unique(labels[labels > 0]).tolist():
        pixels = overlay(pixels, labels == number, class_colour(number))
    return pixels


def show_mark(pixels: np.ndarray, mark: np.ndarray, kind: str, colour: Colour) -> np.ndarray:
    """A picture with what marks the object in it; points are drawn large enough to be seen.

    Args:
        mark: H x W bool, of any size.
        kind: one of `common.geometry.KINDS`.
    """
    if kind in ("point", "scribble"):
        shown = np.zeros(pixels.shape[:2], dtype=bool)
        rows, columns = np.nonzero(mark)
        reach = max(2, max(shown.shape) // _DOT)
        for row, column in zip(
            rows * shown.shape[0] // mark.shape[0],
            columns * shown.shape[1] // mark.shape[1],
            strict=True,
        ):
            top, left = max(0, row - reach), max(0, column - reach)
            shown[top : row + reach + 1, left : column + reach + 1] = True
    else:
        shown = resized(mark, pixels.shape[:2])
    return overlay(pixels, shown, colour)


def legend(names: Sequence[str], counts: Sequence[int], total: int, unit: str) -> str:
    """Each class with its colour, and in how many pictures or frames it was found, as HTML."""
    parts = []
    for number, (name, count) in enumerate(zip(names, counts, strict=True), start=1):
        swatch = f'<span class="swatch" style="background: rgb{class_colour(number)}"></span>'
        found = f"in {count} of {total} {unit}"
        parts.append(f"<span>{swatch}<b>{html.escape(name)}</b> {found}</span>")
    return f'<div class="legend">{" ".join(parts)}</div>'
