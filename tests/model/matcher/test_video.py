"""Matcher's way through a video, by hand and on a drawn clip."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from data.synthetic.video_sets import generated_clip
from model.matcher.builder import build_matcher
from model.matcher.config import MatcherOptions
from model.matcher.frames import WideFrames
from model.matcher.network import Matcher
from model.matcher.objects import (
    match_objects,
    place_similarity,
    place_weight,
    trusted_centres,
    voted,
)
from model.matcher.video import Remembered, select


def test_frames_lie_or_stand_in_the_square():
    frames = WideFrames(64, short=36)
    assert frames.content((480, 854)) == frames.content((100, 100)) == (36, 64)
    assert frames.content((854, 480)) == (64, 36)
    ramp = np.linspace(0, 250, 64)[None, :, None] * np.linspace(0.5, 1, 36)[:, None, None]
    pixels = np.repeat(ramp, 3, axis=2).astype(np.uint8)
    assert np.array_equal(frames.picture(pixels), pixels)
    image = frames.image(pixels)
    assert image.shape == (3, 64, 64)
    assert not image[:, 36:].any()
    other = frames.image(np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1))
    assert (image - other)[:, :36].abs().max() < 0.05


def test_places_are_most_alike_with_themselves():
    alike = place_similarity((3, 4), 16)
    assert alike.shape == (12, 12)
    assert np.allclose(np.diag(alike), 1)
    assert np.allclose(alike.min(axis=0), 0)
    assert alike[0, 1] > alike[0, 2] > alike[0, 3]
    assert place_weight(0) == pytest.approx(0.1)
    assert place_weight(5) == pytest.approx(0.1 / np.e)


def test_objects_compete_for_patches():
    """Both objects want patch 0; the first gets it, as together they do best so."""
    similarity = np.zeros((4, 4), np.float32)
    similarity[0] = (0.9, 0.1, 0.0, 0.0)
    similarity[1] = (0.8, 0.7, 0.0, 0.0)
    found = match_objects(similarity, [np.array([0]), np.array([1])], [True, True])
    assert [one.tolist() for one in found] == [[0], [1]]


def test_pairs_that_do_not_return_to_their_object_are_left_out():
    similarity = np.zeros((4, 4), np.float32)
    similarity[0, 0], similarity[1, 1], similarity[3, 1] = 0.9, 0.5, 0.8
    [found] = match_objects(similarity, [np.array([0, 1])], [True])
    assert found.tolist() == [0]  # patch 1 is more like patch 3, which is not the object's


def test_of_many_pairs_the_better_ones_stay_but_where_an_object_begins():
    similarity = np.diag(np.linspace(0.5, 1, 20)).astype(np.float32)
    every = [np.arange(20)]
    assert len(match_objects(similarity, every, [True])[0]) == 20
    assert match_objects(similarity, every, [False])[0].tolist() == list(range(4, 20))
    few = [np.arange(11)]
    assert len(match_objects(similarity, few, [False])[0]) == 10


def test_half_of_the_frames_have_to_choose_a_patch():
    choices = [np.array([1, 2]), np.array([2, 3]), np.array([2]), np.array([3])]
    assert voted(choices, 6).tolist() == [2, 3]
    assert voted([np.array([1]), np.array([2]), np.array([3])], 6).tolist() == [1, 2, 3]
    assert voted([np.array([], int)], 6).tolist() == voted([], 6).tolist() == []


def test_small_clusters_and_outliers_are_no_centres():
    generator = np.random.default_rng(0)
    groups = [
        np.array([[x, y]]) + np.indices((3, 3)).reshape(2, -1).T
        for x, y in ((0, 0), (20, 0), (40, 0), (0, 20), (20, 20), (40, 20), (20, 10))
    ]
    points = np.concatenate([*groups, [[900, 900]] * 9])
    centres = trusted_centres(points, generator)
    assert len(centres)
    assert centres.max() < 100  # the far group is an outlier
    lone = np.concatenate([*groups, [[60, 60]]])
    assert [60, 60] not in trusted_centres(lone, generator).tolist()  # one place of sixty-four


@pytest.mark.parametrize(
    ("emd", "scores", "chosen"),
    [
        ([0.9, 0.8, 0.2], [0.9, 0.8, 2.0], [0]),  # 0.8 is below 85 % of the way from 0.8 to 0.9
        ([0.9, 0.9, 0.9], [0.3, 0.2, 0.1], [0]),  # of three bad ones the better half
        ([0.9, 0.9, 0.9], [0.9, 0.8, 0.71], [0, 1, 2]),
        ([0.9] * 7, [0.71, 0.72, 0.73, 0.74, 0.75, 0.76, 0.77], [6, 5, 4, 3, 2]),
        ([0.9, 0.9], [0.8, 0.8], [0]),  # equal scores are one mask
        ([0.1, 0.5], [0.1, 0.2], [1]),  # none reaches 0.75: the best does
    ],
)
def test_the_best_proposals_are_united(emd, scores, chosen):
    assert select(np.array(emd), np.array(scores)).tolist() == chosen


def test_a_score_is_worth_less_with_every_frame():
    frame = Remembered(3, torch.zeros(0), {}, 0.8)
    assert [frame.value(now) for now in (3, 13, 28, 40)] == pytest.approx([0.8, 0.48, 0, 0])


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return build_matcher(MatcherOptions(size="tiny"))


def own_size(found: Tensor, content: tuple[int, int], size: tuple[int, int]) -> Tensor:
    inside = found[:, None, : content[0], : content[1]]
    return F.interpolate(inside, size, mode="bilinear", align_corners=False)[:, 0]


def test_drawn_objects_are_followed_and_given_ones_join_them(matcher: Matcher):
    frames = list(generated_clip(1, 3, 4).frames(4))
    geometry, size = matcher.tracking_geometry, frames[0].instances.shape
    video, overlaps = matcher.video([]), []
    for number, frame in enumerate(frames):
        begins = {0: [1], 2: [2]}.get(number)
        masks = None
        if begins:
            masks = torch.from_numpy(np.stack([frame.instances == n for n in begins]))
        sizes = torch.tensor([size])
        found = video.step(geometry.image(frame.image)[None], masks, sizes=sizes)
        assert len(found.logits) == (2 if number >= 2 else 1)
        shown = own_size(found.logits, geometry.content(size), size) > 0
        truth = torch.from_numpy(frame.instances == 1)
        overlaps.append(float((shown[0] & truth).sum() / (shown[0] | truth).sum()))
    assert min(overlaps) > 0.6
    assert len(video.memory) <= 3
    assert video.memory[-1].index == 3


def test_a_video_begins_with_masks_only(matcher: Matcher):
    assert not matcher.has_memory
    with pytest.raises(ValueError, match="cannot begin with a support"):
        matcher.video([object()])


@pytest.mark.parametrize("overlap", ["best", "last"])
def test_who_has_a_pixel_that_two_claim(matcher: Matcher, overlap: str):
    model = build_matcher(MatcherOptions(size="tiny", video_overlap=overlap))
    both = torch.ones(4, 4, dtype=torch.bool)
    found = model.video([])._prediction([(both, 0.9), (both, 0.3)], (8, 8))
    assert found.logits.argmax(0)[0, 0] == (0 if overlap == "best" else 1)
    assert found.logits.shape == (2, 8, 8)
    assert (found.logits[:, 4:] < 0).all()
