"""Cells of a target that may show the object: two comparisons in debiased features.

Source: INSID3, section 3.3.
Shapes: K references, N cells of a picture, C channels, M some cells of the target.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

QUANTILE = 0.9
"""Where nothing of a target resembles the object, cells above it are looked at nevertheless."""


def prototype(references: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """What the object looks like.

    Args:
        references: debiased features, K x N x C.
        masks: bool, K x N, none empty.

    Returns:
        Of unit length, C: the mean over references of their means over the object; and those, K x
        C, as they are.
    """
    inside = masks.to(references.dtype)
    means = torch.einsum("knc,kn->kc", references, inside) / inside.sum(dim=1, keepdim=True)
    return F.normalize(means.mean(dim=0), dim=0), means


def forward_cells(similarity: Tensor) -> Tensor:
    """Cells of the target that resemble the object, N bool.

    Args:
        similarity: of each with the prototype, N.
    """
    alike = similarity > 0
    return alike if alike.any() else similarity > similarity.quantile(QUANTILE)


def best_cells(cells: Tensor, reference: Tensor) -> Tensor:
    """For each of some cells, M x C, the most similar cell of a reference, N x C; the first one
    of several, M."""
    return (cells @ reference.T).argmax(dim=1)


def backward_votes(cells: Tensor, references: Tensor, masks: Tensor) -> Tensor:
    """In how many references the most similar cell lies on the object, M.

    Args:
        cells: debiased features of some cells of the target, M x C.
        references: K x N x C.
        masks: bool, K x N.
    """
    votes = cells.new_zeros(len(cells), dtype=torch.long)
    for reference, mask in zip(references, masks, strict=True):
        votes += mask[best_cells(cells, reference)]
    return votes


def votes_needed(shots: int) -> int:
    """Half of the references, rounded up."""
    return (shots + 1) // 2


def candidate_cells(
    target: Tensor, similarity: Tensor, references: Tensor, masks: Tensor
) -> Tensor:
    """Cells that resemble the object, and whose match in the references lies on it.

    Args:
        target: debiased features, N x C.
        similarity: of its cells with the prototype, N.
        references: debiased features, K x N x C.
        masks: bool, K x N.

    Returns:
        N, bool.
    """
    found = forward_cells(similarity)
    # what is no forward cell cannot become a candidate: it needs no match
    votes = backward_votes(target[found], references, masks)
    return found.masked_scatter(found, votes >= votes_needed(len(references)))
