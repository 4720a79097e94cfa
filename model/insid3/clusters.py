"""Parts of a picture: its cells by average linkage of their cosine similarities.

Only cells that are connected with a candidate can belong to a cluster that has one; a cluster
without a candidate is never part of a mask. So only those are clustered, with the same result.
Source: INSID3, section 3.4.
Shapes: N cells of a picture, C channels, M reached cells.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ROUNDING = 1e-6
"""By how much two products of the same features may differ."""


class ReachedCells(NamedTuple):
    """Cells connected with some others by steps of high similarity."""

    cells: Tensor
    """Their positions, M, in the order in which they were reached."""
    similarity: Tensor
    """Cosines of each with each, M x M."""


def reached_cells(features: Tensor, start: Tensor, tau: float) -> ReachedCells:
    """Grow a set of cells by all that are more similar than tau to one of it, until it stays.

    A mean similarity above tau needs one pair above tau: no cluster goes beyond such a set.

    Args:
        features: of unit length, N x C.
        start: N, bool, not all False.
    """
    reached, fresh = start.clone(), start.nonzero().squeeze(1)
    rows, cells = [], []
    while len(fresh):
        rows.append(features[fresh] @ features.T)
        cells.append(fresh)
        near = (rows[-1].amax(dim=0) > tau - ROUNDING) & ~reached
        reached |= near
        fresh = near.nonzero().squeeze(1)
    order = torch.cat(cells)
    return ReachedCells(order, torch.cat([part[:, order] for part in rows]))


def cluster(similarity: Tensor, tau: float) -> Tensor:
    """Merge by average linkage what is on average more similar than tau.

    On a CPU one pair is merged after the other, on other devices many at a time.

    Args:
        similarity: cosines, M x M; not kept as they are.

    Returns:
        Labels from 0 on, M.
    """
    if not similarity.is_cpu:
        return merge_reciprocal_pairs(similarity, tau)
    labels, _ = merge_along_chains(similarity.numpy(), tau)
    return torch.from_numpy(labels)


def merge_along_chains(similarity: np.ndarray, tau: float) -> tuple[np.ndarray, list[float]]:
    """Average linkage by chains of nearest neighbours, which end in pairs that can be merged.

    No merge brings others nearer, so that the order of merges is of no matter, and what has nothing
    nearer than tau is left alone for good.

    Args:
        similarity: float32, M x M; overwritten.

    Returns:
        Labels from 0 on, M; and the similarities of all merges.
    """
    count = len(similarity)
    np.fill_diagonal(similarity, -np.inf)
    sizes = np.ones(count, dtype=similarity.dtype)
    goes_to = np.arange(count)
    settled = np.zeros(count, dtype=similarity.dtype)  # -inf where nobody is to look any more
    merged: list[float] = []
    chain: list[int] = []
    for start in range(count):
        while chain or settled[start] == 0:
            last = chain[-1] if chain else start
            row = similarity[last] + settled
            nearest = int(row.argmax())
            # of several that are equally near the one before, so that no chain goes in a circle
            if len(chain) > 1 and row[chain[-2]] >= row[nearest] - ROUNDING:
                nearest = chain[-2]
            if not row[nearest] > tau:
                settled[last] = -np.inf
                del chain[-1:]
            elif len(chain) > 1 and nearest == chain[-2]:
                merged.append(float(row[nearest]))
                both = sizes[nearest] * similarity[nearest] + sizes[last] * similarity[last]
                sizes[nearest] += sizes[last]
                both /= sizes[nearest]
                both[nearest] = -np.inf
                similarity[nearest] = similarity[:, nearest] = both
                settled[last] = -np.inf
                goes_to[last] = nearest
                del chain[-2:]
            else:
                chain += [nearest] if chain else [start, nearest]
    while (goes_to[goes_to] != goes_to).any():
        goes_to = goes_to[goes_to]
    return np.unique(goes_to, return_inverse=True)[1], merged


def merge_reciprocal_pairs(similarity: Tensor, tau: float) -> Tensor:
    """`cluster` on any device: every round merges all pairs that are nearest to each other."""
    sums = (similarity + similarity.T) / 2
    sizes = sums.new_ones(len(sums))
    labels = torch.arange(len(sums), device=sums.device)
    while len(sums) > 1:
        means = sums / (sizes[:, None] * sizes)
        means.fill_diagonal_(-torch.inf)
        highest, nearest = means.max(dim=1)
        own = torch.arange(len(sums), device=sums.device)
        first = ((nearest[nearest] == own) & (own < nearest) & (highest > tau)).nonzero()[:, 0]
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
