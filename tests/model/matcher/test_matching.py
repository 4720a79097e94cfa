import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.matcher.matching import cosine_similarity, match_patches, patch_centres


def test_pairs_that_return_to_the_foreground_are_kept():
    # patch 0 of the reference is the object; it and the background's patch 1 like target 2
    similarity = np.array([[0.1, 0.2, 0.9], [0.0, 0.3, 0.4], [0.8, 0.0, 0.0]])
    matching = match_patches(similarity, np.array([0]))
    assert matching.columns.tolist() == [2]
    assert matching.back.tolist() == [0]
    assert matching.patches.tolist() == [2]
    assert matching.similarity == pytest.approx(0.9)


def test_pairs_that_return_to_the_background_are_dropped():
    similarity = np.array([[0.9, 0.1, 0.0], [0.1, 0.6, 0.0], [0.0, 0.8, 0.1]])
    matching = match_patches(similarity, np.array([0, 1]))
    assert matching.columns.tolist() == [0, 1]
    assert matching.back.tolist() == [0, 2]
    assert matching.retained.tolist() == [True, False]
    assert matching.patches.tolist() == [0]


def test_where_none_returns_all_are_kept():
    similarity = np.array([[0.1, 0.5], [0.2, 0.9]])
    matching = match_patches(similarity, np.array([0]))
    assert matching.retained.tolist() == [False]
    assert matching.patches.tolist() == [1]


@pytest.mark.parametrize(("pairs", "kept"), [(40, 40), (41, 20), (60, 30)])
def test_of_more_than_forty_pairs_the_better_half_is_kept(pairs: int, kept: int):
    similarity = np.diag(np.linspace(1, 0.5, pairs))
    matching = match_patches(similarity, np.arange(pairs))
    assert matching.patches.tolist() == list(range(kept))


def test_shots_compete_for_places():
    """Three shots of two patches; both foreground patches want the same place, the best has it."""
    similarity = np.array([[0.9, 0.1], [0.0, 0.0], [0.8, 0.7], [0.0, 0.0], [0.0, 0.1], [0.1, 0.0]])
    matching = match_patches(similarity, np.array([0, 2]))
    assert matching.columns.tolist() == [0, 1]


def test_no_foreground_is_refused():
    with pytest.raises(ValueError, match="nothing to match"):
        match_patches(np.zeros((2, 2)), np.array([], dtype=int))


def test_centres_of_patches():
    assert patch_centres(np.array([0, 36, 37]), 37, 518).tolist() == [[7, 7], [511, 7], [7, 21]]


def test_similarities_are_not_rounded_by_autocast():
    features = F.normalize(torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0)), dim=2)
    with torch.autocast("cpu", torch.bfloat16):
        found = cosine_similarity(*features)
    np.testing.assert_allclose(found, (features[0] @ features[1].T).numpy(), atol=1e-6)
