import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from common.errors import UsageError
from common.geometry import Geometry
from common.video_io import VideoWriter
from model.predictor import InContextSegmenter
from tests.helpers import tiny_model

HEIGHT, WIDTH, SIDE = 40, 56, 64


def frame(seed):
    cells = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))


FRAMES = [frame(number) for number in range(5)]


@pytest.fixture(scope="module")
def segmenter():
    """Of a model that takes every object for present, so that its masks count."""
    return InContextSegmenter(tiny_model(2, lively=True))


@pytest.fixture(scope="module")
def concepts(segmenter):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[10:30, 10:40] = True
    return [segmenter.learn(frame(99), mask), segmenter.learn(frame(98), ~mask)]


def write_frames(folder, frames):
    for number, image in enumerate(frames):
        Image.fromarray(image).save(folder / f"{number:02}.png")


def same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one[0], other[0])
        assert one[1] == other[1]


@pytest.mark.parametrize("prompt_every", [0, 2])
def test_masks_and_scores_are_those_of_the_methods_video(segmenter, concepts, prompt_every):
    video = segmenter.method.video([concepts[0].support], prompt_every)
    found = list(segmenter.segment_video(FRAMES, concepts[0], prompt_every))
    assert len(found) == 5
    for image, (mask, score) in zip(FRAMES, found, strict=True):
        expected = video.step(Geometry(SIDE).image(image)[None])
        logits = F.interpolate(
            expected.logits[None], (HEIGHT, WIDTH), mode="bilinear", align_corners=False
        )
        assert mask.dtype == bool
        assert 0 < mask.mean() < 1
        assert np.array_equal(mask, logits[0, 0].numpy() > 0)
        assert score == pytest.approx(float(expected.object_logit.sigmoid()))


def test_prompting_again_changes_what_is_found(segmenter, concepts):
    once, often = (
        [one.mask for one in segmenter.segment_video(FRAMES, concepts[0], every)]
        for every in (0, 2)
    )
    equal = [np.array_equal(*pair) for pair in zip(once, often, strict=True)]
    assert equal[:3] == [True, True, False]


def test_frames_may_be_pictures_arrays_a_folder_or_a_generator(segmenter, concepts, tmp_path):
    write_frames(tmp_path, FRAMES)
    expected = list(segmenter.segment_video(FRAMES, concepts[0]))
    for kind in (tmp_path, str(tmp_path), map(Image.fromarray, FRAMES), np.stack(FRAMES)):
        same(list(segmenter.segment_video(kind, concepts[0])), expected)


def test_a_video_file_is_segmented(segmenter, concepts, tmp_path):
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for image in FRAMES:
            writer.write(image)
    masks = [mask for mask, _ in segmenter.segment_video(tmp_path / "clip.mp4", concepts[0])]
    assert [mask.shape for mask in masks] == [(HEIGHT, WIDTH)] * 5


def test_frames_are_taken_one_at_a_time(segmenter, concepts):
    taken = []
    live = (taken.append(number) or image for number, image in enumerate(FRAMES))
    found = segmenter.segment_video(live, concepts[0])
    assert taken == []
    for number in range(3):
        next(found)
        assert taken == list(range(number + 1))
    assert torch.is_grad_enabled()


def test_leaving_a_video_stops_its_reader(segmenter, concepts, tmp_path):
    write_frames(tmp_path, FRAMES * 4)
    before = threading.active_count()
    found = segmenter.segment_video(tmp_path, concepts)
    next(found)
    assert threading.active_count() == before + 1
    found.close()
    assert threading.active_count() == before


def test_concepts_compete_and_absent_ones_do_not(segmenter, concepts, monkeypatch):
    logits = torch.tensor([[[9.0, 1], [-1, -1]], [[8, 2], [3, -2]]])
    answers = iter([[4.0, 0.2], [-0.1, 4.0], [4.0, 0.2], [4.0, 0.2]])

    def step(_, sizes):
        return SimpleNamespace(logits=logits, object_logit=torch.tensor(next(answers)))

    monkeypatch.setattr(segmenter.method, "video", lambda *_: SimpleNamespace(step=step))
    blank = [np.zeros((2, 2, 3), np.uint8)] * 3

    both, second, both_again = segmenter.segment_video(blank, concepts)
    assert both.labels.tolist() == both_again.labels.tolist() == [[1, 2], [2, 0]]
    assert both.scores == pytest.approx([1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-0.2))])
    assert second.labels.tolist() == [[2, 2], [2, 0]]
    [first] = segmenter.segment_video(blank[:1], concepts, threshold=0.6)
    assert first.labels.tolist() == [[1, 1], [0, 0]]


def test_threads_may_segment_videos_with_one_segmenter(segmenter, concepts):
    clips = [FRAMES, FRAMES[::-1], FRAMES[2:]]

    def labels(clip):
        return list(segmenter.segment_video(clip, concepts, prompt_every=2))

    alone = [labels(clip) for clip in clips]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(labels, clips))
    for one, other in zip(alone, together, strict=True):
        same(one, other)


def test_what_cannot_be_segmented_is_refused_at_once(segmenter, concepts):
    with pytest.raises(UsageError, match=r"no such folder of frames or video file: absent\.mp4"):
        segmenter.segment_video("absent.mp4", concepts[0])
    with pytest.raises(ValueError, match="between 1 and 255 concepts"):
        segmenter.segment_video(FRAMES, [])
    with pytest.raises(ValueError, match="0 or more"):
        segmenter.segment_video(FRAMES, concepts, prompt_every=-1)


def test_a_method_without_memory_has_its_masks_carried_on_by_sam_2():
    alone = InContextSegmenter(tiny_model(1))
    concept = alone.learn(FRAMES[0], FRAMES[0][..., 0] > 90)
    found = list(alone.segment_video(FRAMES, [concept]))
    first = alone.segment(FRAMES[0], concept).mask
    assert len(found) == len(FRAMES)
    assert np.mean((found[0].labels == 1) != first) < 0.15

    every = list(alone.segment_video(FRAMES, [concept], prompt_every=1))
    for frame, one in zip(FRAMES, every, strict=True):
        assert np.mean((one.labels == 1) != alone.segment(frame, concept).mask) < 0.15
