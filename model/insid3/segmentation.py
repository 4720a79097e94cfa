"""INSID3's procedure on the features of one target: candidates, clusters, seed, union.

Source: Cuttano et al., "INSID3: Training-Free In-Context Segmentation with DINOv3", CVPR 2026,
and its released program, which also asks for forward similarity and for coverage.
Shapes: K references, N cells of a picture (h x w), C channels, R clusters, S side of pictures.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.insid3.aggregation import ClusterScores, score_clusters
from model.insid3.candidates import candidate_cells, prototype
from model.insid3.clusters import cluster, reached_cells


@dataclass(frozen=True)
class Thresholds:
    """The procedure's numbers; those of the paper."""

    tau: float = 0.6
    """Cells whose clusters are more similar than this on average are merged."""
    merge: float = 0.2
    """Clusters with a combined score above it make the mask; not negative."""


@dataclass(frozen=True)
class FoundCells:
    """What the procedure found in a target."""

    mask: Tensor
    """N, bool."""
    candidates: Tensor
    """N, bool."""
    similarity: Tensor
    """Of each cell with the prototype, in debiased features, N."""
    labels: Tensor
    """The cluster of each cell, N; -1 where none can count."""
    scores: ClusterScores | None
    """None where there is no candidate."""

    @property
    def best_score(self) -> Tensor:
        """The highest combined score of any cluster; 0 where there is no candidate."""
        zero = self.similarity.new_zeros(())
        return zero if self.scores is None else self.scores.combined.max()

    @property
    def seed_similarity(self) -> Tensor:
        """The seed's with the prototype; 0 where there is no candidate."""
        zero = self.similarity.new_zeros(())
        return zero if self.scores is None else self.scores.seed_similarity[self.scores.seed]


def find_object(
    features: Tensor,
    debiased: Tensor,
    references: Tensor,
    masks: Tensor,
    thresholds: Thresholds,
) -> FoundCells:
    """Find in a target what masks mark in references.

    Args:
        features: of the target, of unit length, N x C.
        debiased: the same, debiased.
        references: debiased features, K x N x C.
        masks: bool, K x N, none empty.
    """
    looked_for, _ = prototype(references, masks)
    similarity = debiased @ looked_for
    candidates = candidate_cells(debiased, similarity, references, masks)
    mask = torch.zeros_like(candidates)
    labels = torch.full_like(candidates, -1, dtype=torch.long)
    if not candidates.any():
        return FoundCells(mask, candidates, similarity, labels, None)

    reached = reached_cells(features, candidates, thresholds.tau)
    cells = reached.cells
    labels[cells] = cluster(reached.similarity, thresholds.tau)
    scores = score_clusters(
        labels[cells],
        features[cells],
        debiased[cells],
        similarity[cells],
        candidates[cells],
        looked_for,
    )
    mask[cells] = (scores.combined > thresholds.merge)[labels[cells]]
    return FoundCells(mask, candidates, similarity, labels, scores)


def enlarge(cells: Tensor, side: int) -> Tensor:
    """Masks on cells, B x h x w bool, on pixels, B x S x S bool: with rounded corners."""
    smooth = F.interpolate(
        cells[:, None].float(), (side, side), mode="bilinear", align_corners=False
    )
    return smooth[:, 0] > 0.5
