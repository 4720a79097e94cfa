"""From clusters to a mask: the seed, and what resembles both the references and the seed.

Source: INSID3, sections 3.4 and 3.5.
Shapes: N cells of a picture, C channels, R clusters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class ClusterScores:
    """How well each cluster fits."""

    seed: int
    """The cluster with a candidate that resembles the prototype most."""
    seed_similarity: Tensor
    """Of each cluster's debiased mean with the prototype, R."""
    cross: Tensor
    """Mean similarity of its cells with the prototype, R."""
    intra: Tensor
    """Cosine of its mean with the seed's, in features as they are, R."""
    coverage: Tensor
    """Share of its cells that are candidates; 1 for the seed, R."""

    @property
    def combined(self) -> Tensor:
        """What decides, R."""
        return self.cross * self.intra * self.coverage


def mean_features(features: Tensor, labels: Tensor) -> Tensor:
    """Means of the clusters' features, of unit length, R x C.

    Args:
        features: N x C.
        labels: from 0 to R - 1, none empty, N.
    """
    sums = features.new_zeros(int(labels.max()) + 1, features.shape[1])
    return F.normalize(sums.index_add_(0, labels, features), dim=1)


def score_clusters(
    labels: Tensor,
    features: Tensor,
    debiased: Tensor,
    similarity: Tensor,
    candidates: Tensor,
    prototype: Tensor,
) -> ClusterScores:
    """Score the clusters of a target, at least one of which has a candidate.

    Args:
        labels: of the cells, from 0 to R - 1, N.
        features: of unit length, N x C.
        debiased: the same, debiased.
        similarity: of debiased features with the prototype, N.
        candidates: bool, N.
        prototype: C.
    """
    sizes = labels.bincount()
    share = labels.bincount(candidates.float()) / sizes
    seed_similarity = mean_features(debiased, labels) @ prototype
    seed = int(seed_similarity.masked_fill(share == 0, -torch.inf).argmax())
    means = mean_features(features, labels)
    cross = torch.zeros_like(share).index_add_(0, labels, similarity) / sizes
    coverage = share.clone()
    coverage[seed] = 1
    return ClusterScores(seed, seed_similarity, cross, means @ means[seed], coverage)
