"""Areas, mIoU, FB-IoU, J and F are those of the released evaluation."""

import json

import numpy as np
import pytest
import torch

from evaluation.boundary import boundary_map, boundary_radius, score_frame
from evaluation.iou import EpisodeScores


@pytest.fixture(scope="module")
def expected(golden_file):
    return json.loads(golden_file("metrics.json").read_text())


@pytest.fixture(scope="module")
def masks(golden_file):
    with np.load(golden_file("metrics_masks.npz"), allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("form", ["with_ignore", "without_ignore"])
def test_episode_areas_miou_and_fb_iou(expected, masks, form):
    prediction, mask, ignore = (
        torch.from_numpy(masks[name] > 0) for name in ("ep_pred", "ep_gt", "ep_ignore")
    )
    class_ids = torch.from_numpy(masks["ep_class"])
    scores = EpisodeScores()
    ignored = ignore if form == "with_ignore" else None
    scores.add(range(len(mask)), class_ids, prediction, mask, ignored)

    areas = torch.tensor(scores.state())[:, 2:].T
    object_intersection, object_union, background_intersection, background_union = areas
    numbers = expected[form]
    background, foreground = torch.tensor(numbers["inter"])
    assert torch.equal(background_intersection, background.long())
    assert torch.equal(object_intersection, foreground.long())
    background, foreground = torch.tensor(numbers["union"])
    assert torch.equal(background_union, background.long())
    assert torch.equal(object_union, foreground.long())

    # the release reports percent in float32
    assert scores.miou() == pytest.approx(numbers["miou"], rel=1e-6)
    assert scores.fb_iou() == pytest.approx(numbers["fb_iou"], rel=1e-6)
    class_intersections, class_unions = numbers["inter_per_class"][1], numbers["union_per_class"][1]
    for score, intersection, union in zip(
        scores.per_class().values(), class_intersections, class_unions, strict=True
    ):
        assert score == pytest.approx(100 * intersection / union, abs=1e-6)


def test_region_and_boundary_of_every_pair(expected, masks):
    for pair, numbers in enumerate(expected["JF"]):
        mask, prediction = masks[f"jf{pair}_gt"] > 0, masks[f"jf{pair}_pred"] > 0

        assert np.count_nonzero(boundary_map(mask)) == numbers["bmap_gt"], pair
        assert np.count_nonzero(boundary_map(prediction)) == numbers["bmap_pred"], pair
        assert boundary_radius(*mask.shape) == numbers["radius"], pair
        score, swapped = score_frame(prediction, mask), score_frame(mask, prediction)
        assert score.region == pytest.approx(numbers["J"], abs=1e-6), pair
        assert score.boundary == pytest.approx(numbers["F"], abs=1e-6), pair
        assert swapped.boundary == pytest.approx(numbers["F_swapped"], abs=1e-6), pair


def test_mean_over_the_frames_of_one_size(expected, masks):
    stacks = {name: values for name, values in expected.items() if name.startswith("JF_stack")}
    for numbers in stacks.values():
        scores = [
            score_frame(masks[f"jf{pair}_pred"] > 0, masks[f"jf{pair}_gt"] > 0)
            for pair in numbers["pairs"]
        ]
        region, boundary = np.mean(scores, axis=0)
        assert region == pytest.approx(numbers["J_mean"], abs=1e-6)
        assert boundary == pytest.approx(numbers["F_mean"], abs=1e-6)
