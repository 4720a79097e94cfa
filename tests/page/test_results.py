import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as run_lengths

from common.errors import UsageError
from common.video_io import FrameReader, VideoWriter
from model.label_map import ConceptMask
from model.predictor import Found
from page.items import Thresholds
from page.limits import PageLimits
from page.results import label_pictures, label_video, overlays, write_coco, write_masks
from page.session import Session


class LeftHalf:
    """Finds the left half of everything with logits of 2; dark pictures show nothing."""

    is_calibrated = True

    def predict(self, pictures, concepts):
        logits = torch.full((1, 8, 8), -2.0)
        logits[..., :4] = 2.0
        return [Found(logits, (0.9 if one.mean() > 100 else 0.2,), (None,)) for one in pictures]

    def segment_video(self, frames, concept, prompt_every):
        for frame in frames:
            mask = np.zeros(frame.shape[:2], dtype=bool)
            mask[:, : frame.shape[1] // 2] = True
            yield ConceptMask(mask, 0.9)


def ignore(done, count):
    pass


@pytest.fixture
def session(tmp_path):
    session = Session(tmp_path / "visitor", PageLimits(max_frames=6))
    for name, value in (("light.png", 200), ("dark.png", 10)):
        Image.new("RGB", (60, 40), (value,) * 3).save(tmp_path / name)
        session.add_targets([tmp_path / name])
    return session


class Uncalibrated(LeftHalf):
    is_calibrated = False


FOUND = Thresholds.start(calibrated=True)


@pytest.fixture
def found(session):
    session.results = label_pictures(session, LeftHalf(), None, ignore)
    return session.results


def test_thresholds_decide_without_the_network(found):
    light, dark = found
    assert light.mask(FOUND).sum() == 40 * 30
    assert not dark.mask(FOUND).any()
    assert dark.mask(Thresholds(presence=0.1)).sum() == 40 * 30
    assert light.mask(Thresholds(mask=0.87)).sum() == 40 * 26  # sigmoid(1.9) = 0.87
    assert not light.mask(Thresholds(mask=0.89)).any()


def test_overlays_tell_the_score_and_what_was_not_found(session, found):
    (light, line), (dark, other) = overlays(session, FOUND)
    assert (line, other) == ("0.90 · light.png", "0.20 not found · dark.png")
    pixels = np.array(Image.open(light))
    assert abs(int(pixels[20, 50].mean()) - 200) < 3
    assert abs(int(pixels[20, 15, 2]) - 200) > 40
    assert np.array(Image.open(dark)).max() < 20


def test_a_score_that_is_no_probability_leaves_nothing_out_and_is_called_a_score(session):
    session.results = label_pictures(session, Uncalibrated(), None, ignore)
    start = Thresholds.start(calibrated=False)
    assert [one.mask(start).sum() for one in session.results] == [40 * 30] * 2
    lines = [line for _, line in overlays(session, start)]
    assert lines == ["score 0.90 · light.png", "score 0.20 · dark.png"]
    coco = json.loads(write_coco(session, start, "half").read_text())
    assert coco["info"] == {"presence_calibrated": False}
    assert [one["score"] for one in coco["images"]] == [{"half": 0.9}, {"half": 0.2}]
    assert len(coco["annotations"]) == 2
    assert "presence" not in coco["images"][0]


def test_a_picture_without_a_pixel_is_not_found(session, found):
    lines = [line for _, line in overlays(session, Thresholds(mask=0.95))]
    assert lines == ["0.90 not found · light.png", "0.20 not found · dark.png"]


def test_masks_are_saved_at_the_pictures_own_size_with_those_of_the_references(session, found):
    session.shown = [(session.targets[0].photo, np.ones((20, 30), dtype=bool))]
    with zipfile.ZipFile(write_masks(session, FOUND)) as archive:
        assert archive.namelist() == ["light.png", "dark.png", "references/light.png"]
        masks = [np.array(Image.open(archive.open(name))) for name in archive.namelist()]
    assert [mask.shape for mask in masks] == [(40, 60)] * 3
    assert [int(mask.sum()) for mask in masks] == [1200, 0, 2400]


def test_coco_holds_what_was_found(session, found):
    coco = json.loads(write_coco(session, FOUND, "half").read_text())
    assert [one["file_name"] for one in coco["images"]] == ["light.png", "dark.png"]
    assert coco["info"] == {"presence_calibrated": True}
    assert [one["presence"] for one in coco["images"]] == [{"half": 0.9}, {"half": 0.2}]
    [annotation] = coco["annotations"]
    assert annotation["bbox"] == [0, 0, 30, 40]
    np.testing.assert_array_equal(
        run_lengths.decode(annotation["segmentation"]), found[0].mask(FOUND)
    )


def test_nothing_can_be_saved_before_a_result(session):
    with pytest.raises(UsageError, match="no result yet"):
        write_masks(session, FOUND)


def test_stopping_keeps_what_is_done(session):
    def stop(done, count):
        session.stopped.set()

    assert len(label_pictures(session, LeftHalf(), None, stop)) == 1
    assert label_pictures(session, LeftHalf(), None, ignore) == []


def write_film(path, count):
    with VideoWriter(path, frames_per_second=10) as writer:
        for _ in range(count):
            writer.write(np.full((32, 48, 3), 200, dtype=np.uint8))
    return path


def test_a_video_gets_its_mask_on_every_frame(session, tmp_path):
    session.set_video(write_film(tmp_path / "film.mp4", 5))
    told = []
    film = label_video(session, LeftHalf(), None, 0, lambda *numbers: told.append(numbers))
    assert (film.frames, film.marked) == (5, 5)
    with FrameReader(film.path) as reader:
        frames = list(reader)
    assert (reader.count, reader.size, reader.frames_per_second) == (5, (32, 48), 10)
    assert told == [(n, 5) for n in range(1, 6)]
    for frame in frames:
        assert abs(int(frame[16, 40].mean()) - 200) < 8
        assert abs(int(frame[16, 10, 2]) - 200) > 40


def test_a_stopped_video_ends_early(session, tmp_path):
    session.set_video(write_film(tmp_path / "film.mp4", 5))

    def stop(done, count):
        if done == 3:
            session.stopped.set()

    with FrameReader(label_video(session, LeftHalf(), None, 0, stop).path) as reader:
        assert reader.count == 3


def test_a_video_that_hides_its_length_is_cut_off_at_the_limit(session, tmp_path, monkeypatch):
    session.set_video(write_film(tmp_path / "film.mp4", 6))
    monkeypatch.setattr(PageLimits, "check_video", lambda self, path: Uncounted(FrameReader(path)))
    session.limits = PageLimits(max_frames=4)
    with pytest.raises(UsageError, match="more than the 4 frames"):
        label_video(session, LeftHalf(), None, 0, ignore)


class Uncounted(SimpleNamespace):
    """A reader that does not know how many frames there are."""

    def __init__(self, reader):
        super().__init__(reader=reader, count=None, frames_per_second=None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()

    def __iter__(self):
        return iter(self.reader)
