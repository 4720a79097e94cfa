from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from model.matcher.selection import (
    earth_mover_scores,
    mask_patches,
    near_best,
    purity_and_coverage,
    select_masks,
    top,
)
from model.matcher.settings import SETTINGS


def masks_of(*cells: list[tuple[int, int]]) -> Tensor:
    """Masks of 12 x 12 pixels in a grid of 3 x 3 patches, with one pixel in each given patch."""
    masks = torch.zeros(len(cells), 12, 12, dtype=torch.bool)
    for mask, places in zip(masks, cells, strict=True):
        for row, column in places:
            mask[4 * row + 1, 4 * column + 1] = True
    return masks


def test_a_patch_with_any_pixel_is_touched():
    found = mask_patches(masks_of([(0, 0), (2, 1)], []), 3)
    assert found[0].nonzero()[0].tolist() == [0, 7]
    assert not found[1].any()


def test_purity_and_coverage_count_places():
    masks = masks_of([(0, 0), (0, 1), (1, 1), (2, 2)], [])
    points = np.array([[1, 1], [5, 1], [6, 6]])  # the first two are in the mask
    purity, coverage = purity_and_coverage(masks, mask_patches(masks, 3), points)
    assert purity == pytest.approx([2 / 4 + 1e-6, 1e-6])
    assert coverage == pytest.approx([2 / 3 + 1e-6, 1e-6])


def test_earth_is_moved_at_the_least_cost():
    # half of the earth is at each place; the mask has both, one, or none of the places
    cost = np.array([[0.0, 0.6], [0.8, 0.2]])
    patches = np.array([[True, True], [True, False], [False, False]])
    assert earth_mover_scores(cost, patches) == pytest.approx([0.9, 0.6, 0.9])


def test_the_distance_is_the_linear_programmes():
    generator = np.random.default_rng(0)
    cost, patches = generator.random((4, 7)), generator.random((1, 7)) > 0.3
    part = cost[:, patches[0]]
    many = part.shape[1]
    rows = np.kron(np.eye(4), np.ones(many)), np.kron(np.ones(4), np.eye(many))
    sums = np.concatenate([np.full(4, 1 / 4), np.full(many, 1 / many)])
    least = linprog(part.ravel(), A_eq=np.concatenate(rows), b_eq=sums).fun
    assert earth_mover_scores(cost, patches) == pytest.approx([1 - least])


def test_scores_near_one_and_near_the_best_are_kept():
    assert near_best(np.array([0.7, 0.5, 0.705, 0.9]), 9).tolist() == [3]
    assert near_best(np.array([0.7, 0.5, 0.705, 0.72]), 9).tolist() == [3, 2, 0]
    assert near_best(np.array([0.7, 0.5, 0.705, 0.72]), 2).tolist() == [3, 2]
    assert near_best(np.array([0.1, 0.2]), 9).tolist() == [1]  # far from one, but there is no other


def test_scores_far_below_the_best_are_left_out():
    assert top(np.array([0.5, 1.0, 0.8, 0.75]), 9).tolist() == [1, 2, 3]
    assert top(np.array([0.5, 1.0, 0.8, 0.75]), 2).tolist() == [1, 2]


def test_a_filter_that_nothing_passes_keeps_the_best():
    masks = masks_of([(0, 0), (0, 1)], [(2, 2)], [(1, 1), (2, 2)])
    cost = np.full((2, 9), 0.2)
    points = np.array([[1, 1], [5, 1], [5, 5], [9, 1]])
    setting = replace(SETTINGS["parts"], coverage=0.9)
    found = select_masks(masks, cost, points, setting, merge=5)
    assert found.scored.tolist() == [0]  # half of the places, the others none and a quarter
    assert found.chosen.tolist() == [0]
    assert found.scores == pytest.approx([0.5 * 0.8 + 0.5 * (1 + 1e-6)])
