"""What was painted on the page's canvas, and what it means.

The canvas shows a picture made smaller, and may come back at another size yet.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

VISIBLE = 64
"""Opacity, 0 to 255, from which a pixel counts as painted; the brush has 160."""

MOST_CLICKS = 8
"""Clicks that a prompt has at most."""

_LONG = 1.6
"""A patch of paint whose sides have a higher ratio is a stroke, not a dot."""
_CLICKS_OF_A_STROKE = 4


def painted(layers: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Where there is paint on any layer.

    Args:
        layers: each h x w x 4 uint8, transparent where nothing was painted.
        size: H and W of the picture that the paint belongs to.

    Returns:
        H x W bool.
    """
    marked = np.zeros(size, dtype=bool)
    for layer in layers:
        marked |= resized(layer[..., 3] >= VISIBLE, size)
    return marked


def resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of another size, by the nearest pixel: H x W bool."""
    if mask.shape == size:
        return mask
    picture = Image.fromarray(mask.astype(np.uint8))
    return np.array(picture.resize(size[::-1], Image.Resampling.NEAREST)).astype(bool)


def clicks(marked: np.ndarray) -> np.ndarray:
    """The places that were clicked: one for a dot, several along a stroke.

    Args:
        marked: H x W bool.

    Returns:
        N x 2: x, y as parts of width and height; at most `MOST_CLICKS`, those of the largest
        patches first. Each lies on paint.
    """
    count, patches, facts, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8))
    order = sorted(range(1, count), key=lambda patch: -facts[patch, cv2.CC_STAT_AREA])
    places = []
    for patch in order:
        rows, columns = np.nonzero(patches == patch)
        pixels = np.stack([columns, rows], axis=1)
        sides = np.ptp(pixels, axis=0) + 1
        is_stroke = sides.max() > _LONG * sides.min()
        along = pixels[np.argsort(pixels[:, sides.argmax()], kind="stable")]
        for part in np.array_split(along, _CLICKS_OF_A_STROKE if is_stroke else 1):
            if len(part):
                away = ((part - part.mean(axis=0)) ** 2).sum(axis=1)
                places.append(part[away.argmin()])
    chosen = np.array(places[:MOST_CLICKS], dtype=np.float64).reshape(-1, 2)
    return (chosen + 0.5) / marked.shape[::-1]


def clicked(marked: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The places of `clicks` as pixels of a picture of some size, H x W bool."""
    points = np.zeros(size, dtype=bool)
    columns, rows = (clicks(marked) * size[::-1]).astype(int).T
    points[rows, columns] = True
    return points


def boxed(marked: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The filled `box` around all paint, H x W bool, in a picture of some size.

    Raises:
        ValueError: nothing is marked.
    """
    left, top, right, bottom = box(marked)
    filled = np.zeros(size, dtype=bool)
    rows = slice(int(top * size[0]), max(int(top * size[0]) + 1, round(bottom * size[0])))
    columns = slice(int(left * size[1]), max(int(left * size[1]) + 1, round(right * size[1])))
    filled[rows, columns] = True
    return filled


def box(marked: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all paint, as parts of width and height.

    Raises:
        ValueError: nothing is marked.
    """
    if not marked.any():
        raise ValueError("nothing is painted")
    left, top, width, height = cv2.boundingRect(marked.astype(np.uint8))
    rows, columns = marked.shape
    return left / columns, top / rows, (left + width) / columns, (top + height) / rows
