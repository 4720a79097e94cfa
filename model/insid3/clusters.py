"""Parts of a picture: its cells by average linkage of their cosine distances.

Only cells that are connected with a candidate can belong to a cluster that has one; a cluster
without a candidate is never part of a mask. So only those are clustered, with the same result.
Source: INSID3, section 3.4.
Shapes: N cells of a picture, C channels, M reached cells.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

ROUNDING = 1e-5
"""By how much a similarity may be below tau in one product and above it in another."""


class ReachedCells(NamedTuple):
    """Cells connected with some others by steps of high similarity."""

    cells: Tensor
    """Their positions, M, ascending."""
    distances: Tensor
    """1 - cosine, M x M, exactly symmetric."""


def reached_cells(features: Tensor, start: Tensor, tau: float) -> ReachedCells:
    """Grow a set of cells by all that are more similar than tau to one of it, until it stays.

    A mean similarity above tau needs one pair above tau: no cluster goes beyond such a set.

    Args:
        features: of unit length, N x C.
        start: N, bool.
    """
    reached, fresh = start.clone(), start.nonzero().squeeze(1)
    rows, cells = [], []
    while len(fresh):
        similarity = features[fresh] @ features.T
        rows.append(similarity)
        cells.append(fresh)
        near = (similarity > tau - ROUNDING).any(dim=0) & ~reached
        reached |= near
        fresh = near.nonzero().squeeze(1)
    if not cells:
        return ReachedCells(fresh, features.new_zeros(0, 0))
    order, position = torch.cat(cells).sort()
    return ReachedCells(order, distances(torch.cat(rows)[position][:, order]))


def distances(similarity: Tensor) -> Tensor:
    """Cosine distances, M x M: the upper triangle on both sides, and 0 to oneself."""
    upper = (1 - similarity.clamp(-1, 1)).triu(1)
    return upper + upper.T


def cluster(distances: Tensor, tau: float) -> Tensor:
    """Labels from 0 on, M: merge by average linkage what is on average nearer than 1 - tau.

    SciPy does it on the CPU, one merge after the other; other devices merge many at a time.
    """
    if len(distances) < 2 or not distances.is_cpu:
        return merge_reciprocal_pairs(distances, tau)
    tree = average_linkage(distances)
    # SciPy merges up to a height; here it has to be below
    labels = fcluster(tree, np.nextafter(1 - tau, 0), "distance")
    return torch.from_numpy(labels).long() - 1


def average_linkage(distances: Tensor) -> np.ndarray:
    """SciPy's tree of merges, (M - 1) x 4, the third column being their heights."""
    return linkage(squareform(distances.double().numpy(), checks=False), "average")


def merge_reciprocal_pairs(distances: Tensor, tau: float) -> Tensor:
    """`cluster` on any device: every round merges all pairs that are nearest to each other.

    Average linkage is reducible: no merge brings others nearer, so that the order is of no matter.
    """
    sums, sizes = distances.clone(), distances.new_ones(len(distances))
    labels = torch.arange(len(distances), device=distances.device)
    while len(sums) > 1:
        means = sums / (sizes[:, None] * sizes)
        means.fill_diagonal_(torch.inf)
        height, nearest = means.min(dim=1)
        own = torch.arange(len(sums), device=sums.device)
        first = ((nearest[nearest] == own) & (own < nearest) & (height < 1 - tau)).nonzero()[:, 0]
        if not len(first):
            break
        second = nearest[first]
        sums[first] += sums[second]
        sums[:, first] += sums[:, second]
        sizes[first] += sizes[second]
        goes_to = own.clone()
        goes_to[second] = first
        stays = goes_to == own
        labels = (stays.cumsum(0) - 1)[goes_to[labels]]
        sums, sizes = sums[stays][:, stays], sizes[stays]
        sums = (sums + sums.T) / 2  # rounding must not make a pair near in one direction only
    return labels
