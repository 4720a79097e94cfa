import numpy as np
import pytest

from model.matcher.prompts import (
    bounding_box,
    cluster_centres,
    colexicographic,
    draw_centres,
    grid_points,
    lloyd,
    subsets,
)

TWO_HEAPS = np.array([[0, 0], [2, 0], [1, 1], [100, 100], [103, 100]])


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_smaller_largest_element_comes_first():
    assert colexicographic(3, 2).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert colexicographic(4, 3).tolist() == [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]
    assert colexicographic(3, 5).shape == (0, 5)


def test_of_eight_places_all_subsets_are_taken():
    found = list(subsets(8, (4, 6), 3, generator()))
    assert [len(one) for one in found] == [70, 56, 28]


def test_of_more_places_subsets_are_drawn_without_replacement():
    found = list(subsets(9, (2, 4), 5, generator()))
    assert [one.shape for one in found] == [(5, 2), (5, 3), (5, 4)]
    assert all(len(set(row)) == len(row) and max(row) < 9 for one in found for row in one.tolist())


def test_sizes_are_cut_to_the_places_there_are():
    assert [one.tolist() for one in subsets(2, (4, 6), 5, generator())] == [[[0, 1]]]


def test_draws_come_from_the_generator_alone():
    first = [one.tolist() for one in subsets(30, (1, 3), 4, generator(1))]
    np.random.seed(5)
    assert first == [one.tolist() for one in subsets(30, (1, 3), 4, generator(1))]
    assert first != [one.tolist() for one in subsets(30, (1, 3), 4, generator(2))]


def test_centres_of_two_heaps_are_truncated_means():
    for seed in range(5):
        centres = cluster_centres(TWO_HEAPS, 2, generator(seed))
        assert sorted(centres.tolist()) == [[1, 0], [101, 100]]


def test_there_are_no_more_centres_than_places():
    assert sorted(cluster_centres(TWO_HEAPS, 8, generator()).tolist()) == sorted(TWO_HEAPS.tolist())


def test_far_places_are_likelier_first_centres():
    second = [draw_centres(TWO_HEAPS, 2, generator(seed)) for seed in range(50)]
    assert sum(abs(a[0] - b[0]) > 50 for a, b in second) == 50


def test_an_empty_cluster_is_told():
    assert np.isnan(lloyd(TWO_HEAPS, np.array([[0, 0], [100, 100], [5000, 0]]))).any()


def test_the_box_has_no_margin_and_stays_in_the_picture():
    assert bounding_box(np.array([[7, 21], [49, 7]]), 518).tolist() == [7, 7, 49, 21]
    assert bounding_box(np.array([[-3, 600]]), 518).tolist() == [0, 517, 0, 517]


def test_the_grid_goes_row_by_row():
    assert grid_points(2, 8).tolist() == [[2, 2], [6, 2], [2, 6], [6, 6]]
    assert grid_points(64, 518)[1].tolist() == pytest.approx([1.5 / 64 * 518, 0.5 / 64 * 518])
