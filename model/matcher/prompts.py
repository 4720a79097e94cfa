"""Prompts from matched places: all of them or their centres, in many subsets, and a box.

Every random choice comes from the generator that is given.
Source: Matcher (ICLR 2024), section 3.3, and its released program.
Shapes: P places as x, y; n size of a subset.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from scipy.spatial.distance import cdist

FEW = 8
"""Of so many places, or fewer, all subsets are taken."""
_ROUNDS = 100
"""Of Lloyd's algorithm."""


def cluster_centres(points: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Centres of clusters by k-means++: min(count, P) x 2, truncated to whole numbers."""
    while True:  # a cluster rarely ends without points; then others are drawn
        centres = lloyd(points, draw_centres(points, count, generator))
        if np.isfinite(centres).all():
            return centres.astype(np.int64)


def draw_centres(points: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """First centres: one at random, then each likelier the farther it is from those there are."""
    chosen = [points[generator.integers(len(points))]]
    while len(chosen) < min(count, len(points)):
        distance = cdist(points, chosen).min(axis=1) + 1e-6
        chosen.append(points[generator.choice(len(points), p=distance**2 / (distance**2).sum())])
    return np.stack(chosen)


def lloyd(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Move centres to the means of their clusters until nothing moves; NaN where one is empty."""
    centres = centres.astype(np.float64)
    for _ in range(_ROUNDS):
        nearest = cdist(points, centres).argmin(axis=1)
        sizes = np.bincount(nearest, minlength=len(centres))
        sums = [np.bincount(nearest, column, minlength=len(centres)) for column in points.T]
        with np.errstate(invalid="ignore"):
            moved = np.stack(sums, axis=1) / sizes[:, None]
        if np.isnan(moved).any() or np.array_equal(moved, centres):
            return moved
        centres = moved
    return centres


def subsets(
    points: int, sizes: tuple[int, int], draws: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Indices of points for each size from the smaller to the larger: prompts x n.

    Of at most `FEW` points all subsets, in the order of `colexicographic`; of more, so many draws.

    Args:
        points: P.
        sizes: cut to P.
        draws: random subsets of each size, without replacement within one.
    """
    for size in range(min(sizes[0], points), min(sizes[1], points) + 1):
        if points <= FEW:
            yield colexicographic(points, size)
        else:
            chosen = [generator.choice(points, size, replace=False) for _ in range(draws)]
            yield np.stack(chosen)


def colexicographic(points: int, size: int) -> np.ndarray:
    """All subsets, those with the smaller largest index first: of 3 by 2 they are 01, 02, 12."""
    found = sorted(combinations(range(points), size), key=lambda subset: subset[::-1])
    return np.array(found, dtype=np.int64).reshape(-1, size)


def bounding_box(points: np.ndarray, side: int) -> np.ndarray:
    """The corners of the places themselves, within the picture: left, top, right, bottom."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).clip(0, side - 1)


def grid_points(count: int, side: int) -> np.ndarray:
    """A regular grid in a picture of some side, row by row: count*count x 2 (x, y), float32."""
    places = (np.arange(count, dtype=np.float32) + 0.5) / count * side
    return np.stack(np.meshgrid(places, places), axis=2).reshape(-1, 2)
