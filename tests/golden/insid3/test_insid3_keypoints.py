"""Semantic correspondence is that of the released program."""

import pytest
import torch
from torch import Tensor

from model.keypoints import (
    cells_of_points,
    correct_points,
    expected_points,
    similarity_maps,
)
from tests.golden.golden_set import Weights, assert_close
from tests.golden.insid3.insid3_case import Insid3Case
from tests.golden.method_set import assert_changes_are_seen

TOLERANCES = {".*points|pck": 1e-3, "": 1e-5}


def ground_truth(case: Insid3Case, found: Tensor) -> Tensor:
    return found + 12 * case.input("pck_offset", *found.shape)


def keypoint_values(case: Insid3Case) -> Weights:
    facts = case.facts["keypoints"]
    sizes = [tuple(facts[name]) for name in ("reference_hw", "target_hw")]
    cells = cells_of_points(torch.tensor(facts["points"]), sizes[0], case.grid)
    values = {"cells": cells}
    pair = case.references[0], case.target
    for name, (reference, target) in {
        "original": pair,
        "debiased": [case.debiased(features) for features in pair],
    }.items():
        maps = similarity_maps(reference, target, cells, case.grid)
        values[f"{name}_similarity"] = maps
        values[f"{name}_points"] = expected_points(maps, sizes[1])
    values["pck_ground_truth"] = ground_truth(case, values["debiased_points"])
    return values


def test_cells_similarities_and_points(insid3_case):
    expected = insid3_case.golden.tensors("insid3_keypoints")
    assert_close(keypoint_values(insid3_case), expected, TOLERANCES)
    assert_changes_are_seen(expected, TOLERANCES)


def test_the_percentage_of_correct_keypoints(insid3_case):
    found = insid3_case.golden.tensors("insid3_keypoints")
    points, truth = found["debiased_points"], found["pck_ground_truth"]
    expected = insid3_case.facts["results"]["pck"]
    shares = (0.05, 0.1, 0.15, 0.2)
    half = len(points) // 2
    images = torch.stack(
        [
            correct_points(points[rows], truth[rows], side, shares)
            for rows, side in ((slice(None, half), 150), (slice(half, None), 90))
        ]
    )
    for column, share in enumerate(shares):
        assert images[:, column].tolist() == pytest.approx(expected["images"][f"pck{share}"]["all"])
    assert images.mean(dim=0).tolist() == pytest.approx(expected["mean"])
