from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from model.persam.builder import build_persam
from model.persam.config import PerSamOptions
from model.persam.video import PerSam, PerSamVideo, merge
from model.predictor import InContextSegmenter
from model.sam.sam2 import ABSENT_LOGIT
from model.sam.segmenter import DecodedMasks

SIDE = 128
SIZE = torch.tensor([[96, 128]])


@pytest.fixture(scope="module")
def model() -> PerSam:
    return build_persam(PerSamOptions(sam_model="tiny")).eval()


def picture(left: int) -> np.ndarray:
    """A red square on a green ground, 96 x 128."""
    pixels = np.full((96, 128, 3), (40, 140, 50), dtype=np.uint8)
    pixels[30:70, left : left + 40] = (210, 50, 40)
    return pixels


def square(left: int) -> np.ndarray:
    mask = np.zeros((96, 128), dtype=bool)
    mask[30:70, left : left + 40] = True
    return mask


def frame(model: PerSam, left: int) -> Tensor:
    return model.geometry.image(picture(left))[None]


def begin(model: PerSam, masks: Sequence[np.ndarray]) -> PerSamVideo:
    video = model.video([])
    video.step(frame(model, 20), torch.from_numpy(np.stack(masks)), sizes=SIZE)
    return video


def test_of_equal_logits_the_first_object_wins_and_0_is_nobody():
    logits = torch.tensor([[[1.0, 0.0, -1.0, 2.0]], [[1.0, 0.0, 3.0, 2.5]]])
    assert merge(logits).tolist() == [[1, 0, 2, 2]]


def test_boxes_grow_by_ten_pixels_within_the_frame(model):
    corner = np.zeros((96, 128), dtype=bool)
    corner[:20, 100:] = True
    video = begin(model, [square(20), corner])
    assert [box.tolist() for box in video.boxes] == [[10, 20, 69, 79], [90, 0, 128, 29]]


@pytest.mark.parametrize("released", [False, True])
def test_an_object_that_vanishes_keeps_its_box(model, released: bool):
    rules = {"hand_over": "released"} if released else {}
    method = build_persam(PerSamOptions(sam_model="tiny", **rules)).eval() if released else model
    video = begin(method, [square(5), square(60)])
    first, second = video.boxes
    seen = torch.full((2, 96, 128), -1.0)
    seen[1, 30:70, 60:100] = 1
    video._follow(seen)
    if released:  # the next object's box takes its place, and the last object is given up
        assert torch.equal(video.boxes[0], second)
        assert video.boxes[1] is None
        logits = video.step(frame(method, 60), sizes=SIZE).logits
        assert (logits[1] == ABSENT_LOGIT).all()
    else:
        assert torch.equal(video.boxes[0], first)
        assert torch.equal(video.boxes[1], second)


@pytest.mark.parametrize("released", [False, True])
def test_an_object_may_be_given_later(model, released: bool):
    rules = {"hand_over": "released"} if released else {}
    method = build_persam(PerSamOptions(sam_model="tiny", **rules)).eval()
    video, alone = begin(method, [square(20)]), begin(method, [square(20)])
    before, expected = (one.step(frame(method, 20), sizes=SIZE) for one in (video, alone))
    assert torch.equal(before.logits, expected.logits)
    late = square(80)
    found = video.step(frame(method, 20), torch.from_numpy(late)[None], sizes=SIZE)
    assert torch.equal(found.logits[:1], alone.step(frame(method, 20), sizes=SIZE).logits)
    assert torch.equal(found.masks[1], method.geometry.mark(late) > 0)
    assert torch.equal(video.labels == 2, torch.from_numpy(late))  # what is given counts
    assert video.boxes[1].tolist() == [70, 20, 128, 79]
    assert len(video.support.target.mean) == 2
    assert video.step(frame(method, 20), sizes=SIZE).logits.shape == (2, SIDE, SIDE)


def test_frames_are_segmented_one_by_one(model):
    encoded = model.encode(frame(model, 20), sizes=SIZE)
    support = model.encode_support(encoded, model.geometry.mark(square(20))[None, None])
    video = model.video([support, support])
    for index in range(3):
        found = video.step(frame(model, 20 + 4 * index), sizes=SIZE)
        assert found.logits.shape == (2, SIDE, SIDE)
        assert found.logits.isfinite().all()
        drawn = (found.logits > 0).flatten(1).any(1)
        assert torch.equal(found.object_logit > 0, drawn)
        assert video.labels.shape == (96, 128)
    assert video.index == 3


def test_the_first_frame_is_a_picture(model):
    encoded = model.encode(frame(model, 20), sizes=SIZE)
    support = model.encode_support(encoded, model.geometry.mark(square(20))[None, None])
    expected = model.predict(encoded, support)
    found = model.video([support]).step(frame(model, 20), sizes=SIZE)
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.quality, expected.quality)


def test_a_video_can_be_prompted_again(model):
    encoded = model.encode(frame(model, 20), sizes=SIZE)
    support = model.encode_support(encoded, model.geometry.mark(square(20))[None, None])
    video = model.video([support], prompt_every=2)
    for left in (20, 40):
        video.step(frame(model, left), sizes=SIZE)
    again = video.step(frame(model, 60), sizes=SIZE)
    alone = model.predict(model.encode(frame(model, 60), sizes=SIZE), support)
    torch.testing.assert_close(again.logits, alone.logits)


@pytest.mark.parametrize(
    "options",
    [
        {"video_box": False},
        {"video_center": False},
        {"video_points": 1},
        {"points_apart": True},
    ],
)
def test_every_switch_changes_what_is_found(options: dict):
    found = []
    for some in ({}, options):
        model = build_persam(PerSamOptions(sam_model="tiny", **some)).eval()
        model.segmenter.takes_masks = True  # otherwise the first pass leads to nothing
        video = begin(model, [square(20)])
        found.append(video.step(frame(model, 30), sizes=SIZE).logits)
    assert not torch.equal(*found)


@pytest.mark.parametrize(
    ("options", "chosen"), [({}, 1), ({"areas": "uint8"}, 2), ({"video_largest": False}, 0)]
)
def test_the_largest_proposal_is_refined(options: dict, chosen: int):
    """Of 40 x 40 and 30 x 30 pixels the former has less modulo 256, 64 against 132."""
    model = build_persam(PerSamOptions(sam_model="tiny", **options)).eval()
    video = begin(model, [square(20)])
    encoded = model.encode(frame(model, 20), sizes=SIZE)
    decoder = video._decoder(encoded, video.support, torch.stack(video.boxes))
    logits = torch.full((1, 4, 128, 128), -1.0)
    for number, side in ((1, 10), (2, 40), (3, 30)):
        logits[0, number, :side, :side] = 1
    quality = torch.tensor([[0.0, 0.9, 0.5, 0.5]])
    found = video._first(decoder, DecodedMasks(logits, quality, torch.ones(1, 1)))
    assert torch.equal(found.low, logits[:, 1 + chosen])


def test_a_video_without_support_is_refused(model):
    with pytest.raises(ValueError, match="nothing to segment"):
        model.video([]).step(frame(model, 20), sizes=SIZE)


def test_a_negative_interval_is_refused(model):
    encoded = model.encode(frame(model, 20), sizes=SIZE)
    support = model.encode_support(encoded, model.geometry.mark(square(20))[None, None])
    with pytest.raises(ValueError, match="0 or more"):
        model.video([support], prompt_every=-1)


def test_a_video_by_the_public_interface(model):
    segmenter = InContextSegmenter(model)
    concept = segmenter.learn(picture(20), square(20))
    frames = [picture(20 + 5 * index) for index in range(3)]
    found = list(segmenter.segment_video(frames, concept))
    assert [mask.shape for mask, _ in found] == [(96, 128)] * 3
    assert all(0 <= score <= 1 for _, score in found)
