"""How pictures, masks and classes are shown: sizes, colours, and the legend."""

import html
from collections.abc import Sequence

import numpy as np
from PIL import Image

from common.geometry import touched
from common.video_io import davis_palette
from common.visualize import Colour, overlay
from labelling.marks import visible_mark
from labelling.objects import Labels
from page.canvas import resized

CANVAS_SIDE, THUMBNAIL_SIDE, PREVIEW_SIDE = 960, 320, 720
"""The longer side of a picture on the canvas, of a thumbnail, and of a result."""

_BRIGHT = 7
"""Classes that differ by hue in DAVIS' palette; later ones differ by brightness."""


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


def draw_labels(pixels: np.ndarray, labels: Labels, by_class: bool = False) -> np.ndarray:
    """A picture, H x W x 3 uint8, with each class in its colour, and its outline.

    Args:
        by_class: also objects that are told apart have their class's colour; else each has its own,
            of which there are 255.
    """
    for one in labels.objects:
        apart = labels.numbers is not None and not by_class
        colour = class_colour(1 + (one.number - 1) % 255 if apart else one.class_id)
        pixels = overlay(pixels, one.mask, colour)
    return pixels


def show_mark(pixels: np.ndarray, mark: np.ndarray, kind: str, colour: Colour) -> np.ndarray:
    """A picture with what marks the object in it; points are drawn large enough to be seen.

    Args:
        mark: H x W bool, of any size.
        kind: one of `common.kinds.KINDS`.
    """
    size = pixels.shape[:2]
    thin = kind in ("point", "scribble")
    shown = visible_mark(touched(mark, size), kind) if thin else resized(mark, size)
    return overlay(pixels, shown, colour)


def legend(names: Sequence[str], counts: Sequence[int], total: int, unit: str) -> str:
    """Each class with its colour, and in how many pictures or frames it was found, as HTML."""
    parts = []
    for number, (name, count) in enumerate(zip(names, counts, strict=True), start=1):
        swatch = f'<span class="swatch" style="background: rgb{class_colour(number)}"></span>'
        found = f"in {count} of {total} {unit}"
        parts.append(f"<span>{swatch}<b>{html.escape(name)}</b> {found}</span>")
    return f'<div class="legend">{" ".join(parts)}</div>'
