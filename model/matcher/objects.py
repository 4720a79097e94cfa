"""Matching the objects of a video: patches of remembered frames against those of the next one.

Source: the branch vos-dev of Matcher's released program.
Shapes: T patches of a frame (h x w, row by row), N objects, P places as x, y.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from model.matcher.prompts import draw_centres, lloyd

_LEAST_KEPT, _SHARE_KEPT = 10, 0.8
"""Of the pairs of an object the better ones are kept: so many, or this share of them."""
_VOTES = 0.5
"""Share of the remembered frames that have to choose a patch."""
_CENTRES = 8
_SMALL = 0.5
"""Clusters below this share of the median size are left out."""
_FAR = 1.8
"""Centres are left out whose sum of distances is so many times that of the next one."""
_POSITION, _POSITION_AGES = 0.1, 5.0
"""Weight of places beside features, and the frames after which it is e times smaller."""
_WAVELENGTH = 10_000.0


def place_similarity(grid: tuple[int, int], width: int) -> np.ndarray:
    """How near patches of two frames lie, T x T in [0, 1]: products of sine-cosine codes.

    Args:
        grid: h and w.
        width: channels of the codes, a multiple of 4.
    """
    rates = _WAVELENGTH ** -(np.arange(width // 4) / (width / 4))
    rows, columns = (axis.ravel() for axis in np.indices(grid))
    angles = [np.outer(places, rates) for places in (columns, rows)]
    codes = np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
    products = codes @ codes.T
    lowest, highest = products.min(axis=0), products.max(axis=0)
    return ((products - lowest) / (highest - lowest)).astype(np.float32)


def place_weight(age: int) -> float:
    """What `place_similarity` counts beside a frame so many frames ago."""
    return _POSITION * float(np.exp(-age / _POSITION_AGES))


def match_objects(
    similarity: np.ndarray, parts: Sequence[np.ndarray], begins: Sequence[bool]
) -> list[np.ndarray]:
    """Match the patches of all objects at once, so that they compete for those of the next frame.

    Args:
        similarity: of a remembered frame's patches and the next frame's, T x T.
        parts: the patches of each object in the remembered frame; none where it is not seen.
        begins: whether an object begins on the next frame; then all its pairs are kept.

    Returns:
        For each object the patches of the next frame that it matches, ascending.
    """
    patches = np.concatenate(parts)
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    rows, columns = linear_sum_assignment(similarity[patches], maximize=True)
    _, back = linear_sum_assignment(similarity.T[columns], maximize=True)
    found = []
    for number, (part, new) in enumerate(zip(parts, begins, strict=True)):
        mine = np.flatnonzero(owners[rows] == number)
        returned = mine[np.isin(back[mine], part)]
        kept = returned if len(returned) else mine
        if not new:
            scores = similarity[patches[rows[kept]], columns[kept]]
            count = max(_LEAST_KEPT, int(_SHARE_KEPT * len(kept)))
            kept = kept[np.argsort(-scores, kind="stable")[:count]]
        found.append(np.unique(columns[kept]))
    return found


def voted(choices: Sequence[np.ndarray], patches: int) -> np.ndarray:
    """The patches that enough of the remembered frames chose; of none, none.

    Args:
        choices: of each frame that shows the object.
        patches: T.
    """
    if not choices:
        return np.empty(0, np.int64)
    votes = np.bincount(np.concatenate(choices), minlength=patches) / len(choices)
    return np.flatnonzero((votes > 0) & (votes >= min(_VOTES, votes.max())))


def trusted_centres(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Centres of the places without small clusters and outliers: at most 8 x 2, whole numbers."""
    while True:  # a cluster rarely ends without points; then others are drawn
        centres = lloyd(points, draw_centres(points, _CENTRES, generator))
        if np.isfinite(centres).all():
            break
    sizes = np.bincount(cdist(points, centres).argmin(axis=1), minlength=len(centres))
    centres = centres[sizes >= int(np.median(sizes) * _SMALL)]
    distances = cdist(centres, centres).sum(axis=1)
    order = np.argsort(-distances, kind="stable")
    falling = distances[order]
    gaps = np.flatnonzero(falling[:-1] > _FAR * falling[1:])
    return centres[order[gaps[-1] + 1 :] if len(gaps) else slice(None)].astype(np.int64)
