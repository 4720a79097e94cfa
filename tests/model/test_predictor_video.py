import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from common.errors import UsageError
from common.pixels import squash_image
from common.video_io import VideoWriter
from model.dc_sam.config import ModelOptions, build_model
from model.dc_sam.video import DcSamVideo, FramePrediction, RunningVideo
from model.predictor import InContextSegmenter

HEIGHT, WIDTH, SIDE = 40, 56, 64


def untrained(version):
    options = ModelOptions(
        backbone="tiny",
        sam_version=version,
        sam_model="tiny",
        random_weights=True,
        image_size=SIDE,
        num_query=4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model(options).eval()


@pytest.fixture(scope="module")
def segmenter():
    """It takes every object for present, so that its masks count."""
    model = untrained(2)
    network = model.segmenter.network
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].weight.mul_(0.1)
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
        network.maskmem_tpos_enc.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    return InContextSegmenter(model, SIDE)


def frame(seed):
    cells = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))


@pytest.fixture(scope="module")
def concepts(segmenter):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[10:30, 10:40] = True
    return [segmenter.learn(frame(99), mask), segmenter.learn(frame(98), ~mask)]


@pytest.fixture(scope="module")
def frames():
    return [frame(number) for number in range(5)]


def same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one[0], other[0])
        assert one[1] == other[1]


@pytest.mark.parametrize("prompt_every", [0, 2])
def test_masks_and_scores_are_those_of_a_running_video(segmenter, concepts, frames, prompt_every):
    video = RunningVideo(
        DcSamVideo.from_image_model(segmenter.model), [concepts[0].support], prompt_every
    )
    found = list(segmenter.segment_video(frames, concepts[0], prompt_every))
    assert len(found) == 5
    for image, (mask, score) in zip(frames, found, strict=True):
        expected = video.step(squash_image(image, SIDE)[None])
        logits = F.interpolate(
            expected.logits[None], (HEIGHT, WIDTH), mode="bilinear", align_corners=False
        )
        assert mask.dtype == bool
        assert 0 < mask.mean() < 1
        assert np.array_equal(mask, logits[0, 0].numpy() > 0)
        assert score == pytest.approx(float(expected.object_logit.sigmoid()))


def test_asking_again_changes_what_is_found(segmenter, concepts, frames):
    once, often = (
        [one.mask for one in segmenter.segment_video(frames, concepts[0], every)]
        for every in (0, 2)
    )
    differ = [not np.array_equal(*pair) for pair in zip(once, often, strict=True)]
    assert differ[:2] == [False, False]
    assert differ[2]


def test_frames_may_be_pictures_arrays_a_folder_or_a_generator(
    segmenter, concepts, frames, tmp_path
):
    for number, image in enumerate(frames):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    expected = list(segmenter.segment_video(frames, concepts[0]))
    kinds = [tmp_path, str(tmp_path), map(Image.fromarray, frames), np.stack(frames)]
    for kind in kinds:
        same(list(segmenter.segment_video(kind, concepts[0])), expected)


def test_a_video_file_is_followed(segmenter, concepts, frames, tmp_path):
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for image in frames:
            writer.write(image)
    masks = [mask for mask, _ in segmenter.segment_video(tmp_path / "clip.mp4", concepts[0])]
    assert [mask.shape for mask in masks] == [(HEIGHT, WIDTH)] * 5


def test_frames_are_taken_one_at_a_time(segmenter, concepts, frames):
    taken = []

    def live():
        for number, image in enumerate(frames):
            taken.append(number)
            yield image

    found = segmenter.segment_video(live(), concepts[0])
    assert taken == []
    for number in range(3):
        next(found)
        assert taken == list(range(number + 1))
    assert torch.is_grad_enabled()


def test_leaving_a_video_stops_its_reader(segmenter, concepts, frames, tmp_path):
    for number, image in enumerate(frames * 4):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    before = threading.active_count()
    found = segmenter.segment_video(tmp_path, concepts)
    next(found)
    assert threading.active_count() == before + 1
    found.close()
    assert threading.active_count() == before


@pytest.fixture
def scripted(monkeypatch):
    """The model's answers are given: two concepts, 2 x 2 logits and object logits per frame."""

    def script(*answers):
        given = iter(answers)

        def step(self, images):
            logits, object_logits = next(given)
            quality = torch.ones(len(logits))
            return FramePrediction(
                torch.tensor(logits, dtype=torch.float32), quality, torch.tensor(object_logits)
            )

        monkeypatch.setattr(RunningVideo, "step", step)

    return script


def test_concepts_compete_and_absent_ones_do_not(segmenter, concepts, scripted):
    logits = [[[9, 1], [-1, -1]], [[8, 2], [3, -2]]]
    scripted((logits, [4.0, 0.2]), (logits, [-0.1, 4.0]), (logits, [4.0, 0.2]))
    blank = [np.zeros((2, 2, 3), np.uint8)] * 3

    both, second, both_again = segmenter.segment_video(blank, concepts)
    assert both.labels.tolist() == both_again.labels.tolist() == [[1, 2], [2, 0]]
    assert both.scores == pytest.approx([1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-0.2))])
    assert second.labels.tolist() == [[2, 2], [2, 0]]

    scripted((logits, [4.0, 0.2]))
    [first] = segmenter.segment_video(blank[:1], concepts, threshold=0.6)
    assert first.labels.tolist() == [[1, 1], [0, 0]]


def test_threads_may_follow_videos_with_one_segmenter(segmenter, concepts, frames):
    clips = [frames, frames[::-1], frames[2:]]

    def follow(clip):
        return list(segmenter.segment_video(clip, concepts, prompt_every=2))

    alone = [follow(clip) for clip in clips]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(follow, clips))
    for one, other in zip(alone, together, strict=True):
        same(one, other)


def test_what_cannot_be_followed_is_refused_at_once(segmenter, concepts, frames):
    with pytest.raises(UsageError, match=r"no such folder of frames or video file: absent\.mp4"):
        segmenter.segment_video("absent.mp4", concepts[0])
    with pytest.raises(ValueError, match="between 1 and 255 concepts"):
        segmenter.segment_video(frames, [])
    with pytest.raises(ValueError, match="0 or more"):
        segmenter.segment_video(frames, concepts, prompt_every=-1)


def test_the_first_sam_is_refused_with_what_to_do(concepts, frames):
    with pytest.raises(UsageError, match="videos need a checkpoint with SAM 2"):
        InContextSegmenter(untrained(1), SIDE).segment_video(frames, concepts)
