"""Areas, mIoU, FB-IoU, J, F and losses are those of the release."""

import numpy as np
import pytest
import torch

from evaluation.iou import EpisodeScores
from evaluation.jf import boundary_map, boundary_radius, score_frame
from model.losses import binary_cross_entropy, dice, mask_loss
from tests.golden.fill import disc, rect


@pytest.fixture(scope="module")
def expected(golden):
    return golden.json("metrics.json")


@pytest.fixture(scope="module")
def masks(golden):
    with np.load(golden.file("metrics_masks.npz"), allow_pickle=False) as arrays:
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


def test_losses_of_images(expected, case):
    logits = case.input("loss_logits", 2, 1, 64, 64)[:, 0]
    mask = torch.stack([disc(64, 64, 30, 30, 14), rect(64, 64, 5, 5, 40, 20)])
    numbers = expected["loss"]
    assert_losses_agree(logits, mask, numbers)
    total = mask_loss(logits, mask, kind="release").mean().item()
    assert total == pytest.approx(numbers["total"], abs=1e-6)


def test_losses_of_a_clip(expected, case):
    # one sample: the release sums over all frames before it divides
    logits = case.input("loss_logits_video", 1, 4, 64, 64)
    mask = torch.stack([disc(64, 64, 20 + 5 * frame, 30, 14) for frame in range(4)])[None]
    assert_losses_agree(logits, mask, expected["loss_video"])


def assert_losses_agree(logits, mask, numbers):
    assert binary_cross_entropy(logits, mask).mean().item() == pytest.approx(
        numbers["bce"], abs=1e-6
    )
    released = dice(logits, mask, squared=False, smoothing=1.0).mean().item()
    assert released == pytest.approx(numbers["dice"], abs=1e-6)
    assert abs(dice(logits, mask).mean().item() - numbers["dice"]) > 1e-3
