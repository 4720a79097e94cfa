"""Gaussian filtering in many dimensions on the permutohedral lattice, in NumPy.

Source: Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
2010. Points lie in simplices of a regular lattice; values are splatted onto the corners, blurred
along the lattice's axes and sliced back. It is an approximation with its own ripples.
Shapes: P points, D dimensions, V vertices of the lattice that are in use.
"""

import numpy as np
from scipy.sparse import csr_array


class GaussianFilter:
    """A normalised Gaussian filter of standard deviation 1 over fixed points."""

    def __init__(self, points: np.ndarray) -> None:
        """Build the lattice.

        Args:
            points: P x D, in units of the standard deviation.
        """
        keys, weights = _simplices(points)
        count, corners, dimensions = keys.shape
        codes, self._neighbours = _vertices(keys.reshape(-1, dimensions))
        rows = np.arange(0, count * corners + 1, corners)
        shape = (count, len(self._neighbours[0]))
        self._slice = csr_array((weights.reshape(-1), codes, rows), shape=shape)
        self._splat = self._slice.T.tocsr()
        self._total = self._apply(np.ones(count))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Weighted means around every point, itself included; P float64 to the same."""
        return self._apply(values) / self._total

    def _apply(self, values: np.ndarray) -> np.ndarray:
        lattice = np.append(self._splat @ values, 0.0)  # the last one: no such vertex
        for neighbours in self._neighbours:
            blurred = lattice[:-1] / 2 + lattice[neighbours].sum(axis=1) / 4
            lattice[:-1] = blurred
        return self._slice @ lattice[:-1]


def _simplices(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the simplex around every point, and its barycentric coordinates.

    Returns:
        The first D coordinates of each corner, P x (D + 1) x D int64, and P x (D + 1).
    """
    count, dimensions = points.shape
    corners = dimensions + 1
    axis = np.arange(dimensions)
    # the blur along every axis and the interpolation have a variance of their own: this scale
    # makes their sum that of a unit Gaussian
    scale = corners * np.sqrt(2 / 3) / np.sqrt((axis + 1) * (axis + 2))
    scaled = points * scale
    following = np.cumsum(scaled[:, ::-1], axis=1)[:, ::-1]  # sums from an axis on
    elevated = np.append(following, np.zeros((count, 1)), axis=1)
    elevated[:, 1:] -= np.arange(1, corners) * scaled

    below = np.floor(elevated / corners) * corners
    above = np.ceil(elevated / corners) * corners
    origin = np.where(above - elevated < elevated - below, above, below)
    excess = np.rint(origin.sum(axis=1) / corners).astype(np.int64)[:, None]
    order = np.argsort(origin - elevated, axis=1, kind="stable")  # the largest remainder first
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(corners)[None].repeat(count, 0), axis=1)
    rank += excess
    # coordinates have to add up to 0: those with the most to give or to take move by one step
    origin += corners * ((rank < 0).astype(np.int64) - (rank >= corners))
    rank += corners * ((rank < 0).astype(np.int64) - (rank >= corners))

    remainder = (elevated - origin) / corners
    by_rank = np.empty_like(remainder)
    np.put_along_axis(by_rank, rank, remainder, axis=1)  # descending
    weights = np.empty_like(remainder)
    weights[:, 1:] = (by_rank[:, :-1] - by_rank[:, 1:])[:, ::-1]
    weights[:, 0] = 1 - by_rank[:, 0] + by_rank[:, -1]

    steps = np.arange(corners)[:, None]
    places = np.arange(corners)
    canonical = np.where(places <= dimensions - steps, steps, steps - corners)  # corner, rank
    first = rank[:, :dimensions]
    keys = origin[:, None, :dimensions].astype(np.int64) + canonical.T[first].transpose(0, 2, 1)
    return keys, weights


def _vertices(keys: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Number the vertices that occur.

    Args:
        keys: first coordinates of corners, any number x D.

    Returns:
        The number of each corner's vertex, and for each of the D + 1 axes the numbers of both
        neighbours of every vertex, V x 2; V where there is none.
    """
    dimensions = keys.shape[1]
    low = keys.min(axis=0) - dimensions  # neighbours have codes of their own
    extent = keys.max(axis=0) - low + dimensions + 1
    strides = np.cumprod(np.append(1, extent[:-1]))
    used, numbers = np.unique((keys - low) @ strides, return_inverse=True)
    neighbours = []
    for axis in range(dimensions + 1):
        step = np.ones(dimensions, dtype=np.int64)
        if axis < dimensions:
            step[axis] = -dimensions
        both = used[:, None] + np.array([1, -1]) * (step @ strides)
        found = np.searchsorted(used, both).clip(max=len(used) - 1)
        neighbours.append(np.where(used[found] == both, found, len(used)))
    return numbers, neighbours
