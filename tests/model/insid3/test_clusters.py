"""Average linkage: cases worked out by hand, ties, and SciPy's result on random features."""

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor
from torch.nn import functional as F

from model.insid3.clusters import cluster, merge_reciprocal_pairs, reached_cells

WAYS = {"chains": lambda s, tau: cluster(s.clone(), tau), "pairs": merge_reciprocal_pairs}


def groups(labels: Tensor) -> set[frozenset[int]]:
    return {frozenset((labels == one).nonzero()[:, 0].tolist()) for one in labels.unique()}


def symmetric(rows: list[list[float]]) -> Tensor:
    upper = torch.tensor(rows).triu(1)
    return upper + upper.T + torch.eye(len(rows))


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def test_the_mean_decides_not_the_nearest(way):
    # 0 and 1 merge first; 2 is near 1 alone: on average (0.9 + 0.2) / 2 = 0.55
    similarity = symmetric([[1, 0.95, 0.2], [0, 1, 0.9], [0, 0, 1]])
    assert groups(way(similarity, 0.6)) == {frozenset({0, 1}), frozenset({2})}
    assert groups(way(similarity, 0.5)) == {frozenset({0, 1, 2})}


def test_a_mean_counts_every_cell(way):
    # {0, 1, 2} against 3: (0.9 + 0.9 + 0.3) / 3 = 0.7; of the merged halves it would be 0.6
    similarity = symmetric([[1, 0.99, 0.95, 0.9], [0, 1, 0.95, 0.9], [0, 0, 1, 0.3], [0, 0, 0, 1]])
    assert groups(way(similarity, 0.65)) == {frozenset({0, 1, 2, 3})}
    assert len(groups(way(similarity, 0.75))) == 2


def test_a_merge_has_to_be_above_the_threshold(way):
    similarity = symmetric([[1, 0.5], [0, 1]])
    assert len(groups(way(similarity, 0.5))) == 2
    assert len(groups(way(similarity, 0.49))) == 1


def test_equal_cells_end_together(way):
    assert groups(way(torch.ones(7, 7), 0.6)) == {frozenset(range(7))}
    assert groups(way(torch.ones(1, 1), 0.6)) == {frozenset({0})}


@pytest.mark.parametrize("tau", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_scipy_finds_the_same_clusters(seed, tau, way):
    features = random_features(seed)
    apart = squareform(1 - (features @ features.T).double().numpy(), checks=False)
    expected = fcluster(linkage(apart, "average"), np.nextafter(1 - tau, 0), "distance")
    found = groups(way(features @ features.T, tau))
    assert found == groups(torch.from_numpy(expected))
    assert 1 < len(found) < len(features)


def random_features(seed: int, count: int = 300) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(9, 24, generator=generator)
    noise = 0.8 * torch.randn(count, 24, generator=generator)
    return F.normalize(centres[torch.arange(count) % 9] + noise, dim=1)


def test_cells_are_reached_over_steps_and_no_farther():
    # a chain 0 - 1 - 2 of neighbours at 30 degrees, and 3 far away
    angles = torch.tensor([0.0, 30.0, 60.0, 150.0]).deg2rad()
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    start = torch.tensor([True, False, False, False])
    reached = reached_cells(features, start, 0.8)
    assert reached.cells.tolist() == [0, 1, 2]
    torch.testing.assert_close(reached.similarity, (features @ features.T)[:3, :3])


def test_clusters_of_reached_cells_are_those_of_all():
    features, start = random_features(5), torch.zeros(300, dtype=torch.bool)
    start[[0, 9, 20]] = True
    everywhere = groups(cluster(features @ features.T, 0.62))
    reached = reached_cells(features, start, 0.62)
    found = groups(cluster(reached.similarity, 0.62))
    original = {frozenset(reached.cells[list(one)].tolist()) for one in found}
    assert original <= everywhere
    assert len(reached.cells) < 300
    assert {one for one in everywhere if one & {0, 9, 20}} <= original
