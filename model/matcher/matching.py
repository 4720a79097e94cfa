"""Bidirectional matching of patches: which places of a picture look like the reference's object.

Source: Matcher (ICLR 2024), section 3.2, and its released program.
Shapes: R reference patches of all shots, F of them foreground, T target patches, G patches along
a side (T = G x G, index = row x G + column), P matched places.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

MANY = 40
"""With more pairs than this only the better half is kept."""


@dataclass(frozen=True)
class Matching:
    """Pairs of foreground patches and target patches."""

    rows: np.ndarray
    """F' indices into the F foreground patches: the forward assignment, ascending."""
    columns: np.ndarray
    """Their target patches."""
    back: np.ndarray
    """The reference patches to which the backward assignment returns from `columns`."""
    retained: np.ndarray
    """F' bool: which pairs return to the foreground."""
    kept: np.ndarray
    """Indices into the F' pairs: the retained ones (all, if there is none) or their better half."""
    similarity: float
    """Mean cosine similarity of the pairs that were kept."""

    @property
    def patches(self) -> np.ndarray:
        """The matched target patches, each once, ascending: P."""
        return np.unique(self.columns[self.kept])


def cosine_similarity(reference: Tensor, target: Tensor) -> np.ndarray:
    """Cosine similarities, R x T float32, of unit features R x C and T x C.

    They decide by comparison, so they are computed in single precision under any autocast.
    """
    with torch.autocast(target.device.type, enabled=False):
        return (reference.float() @ target.float().T).cpu().numpy()


def match_patches(similarity: np.ndarray, foreground: np.ndarray) -> Matching:
    """Assign foreground patches to target patches and back.

    Args:
        similarity: R x T.
        foreground: ascending indices of the foreground among the R reference patches, at least 1.

    Raises:
        ValueError: there is no foreground.
    """
    if not len(foreground):
        raise ValueError("no foreground patch: there is nothing to match")
    rows, columns = linear_sum_assignment(similarity[foreground], maximize=True)
    _, back = linear_sum_assignment(similarity.T[columns], maximize=True)
    retained = np.isin(back, foreground)
    scores = similarity[foreground[rows], columns]
    kept = better_pairs(scores, retained)
    return Matching(rows, columns, back, retained, kept, float(scores[kept].mean()))


def better_pairs(scores: np.ndarray, retained: np.ndarray) -> np.ndarray:
    """Indices of the pairs that were retained, or of all; of more than `MANY` the better half."""
    kept = np.flatnonzero(retained) if retained.any() else np.arange(len(retained))
    if len(kept) <= MANY:
        return kept
    return kept[np.argsort(-scores[kept], kind="stable")[: len(kept) // 2]]


def patch_centres(patches: np.ndarray, grid: int, side: int) -> np.ndarray:
    """x, y of patches' middles in a picture of some side: P x 2, whole numbers.

    Args:
        patches: indices in a grid of so many patches along a side.
    """
    patch = side // grid
    return np.stack([patches % grid, patches // grid], axis=1) * patch + patch // 2
