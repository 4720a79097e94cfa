import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as run_lengths

from common.errors import UsageError
from common.video_io import FrameReader, VideoWriter
from model.instances import Instances
from model.label_map import Found
from page.drawing import draw_labels
from page.found import STEP, FilmResults, store_logits
from page.items import Mark, Thresholds
from page.limits import PageLimits
from page.results import draw_film, draw_pictures, label_pictures, label_video, summary
from page.saving import write_coco, write_masks
from page.session import Session


class LeftAndTop:
    """Finds "left" in the left half with logits of 2, and "top" in the upper half with 3; dark
    pictures and later frames show no "left"."""

    is_calibrated = True
    method = SimpleNamespace(name="fake")

    def learn(self, pictures, marks, name, kinds):
        assert len(pictures) == len(marks) == len(kinds)
        return name

    def found(self, picture, concepts, dark):
        logits = torch.full((len(concepts), 8, 8), -2.0)
        for row, name in enumerate(concepts):
            if name == "left":
                logits[row, :, :4] = 2.0
            else:
                logits[row, :4] = 3.0
        return Found(logits, tuple(0.2 if dark and c == "left" else 0.9 for c in concepts), (None,))

    def predict(self, pictures, concepts, instances):
        assert instances
        return [self.found(one, concepts, one.mean() < 100) for one in pictures]

    def predict_video(self, frames, concepts, prompt_every):
        for number, frame in enumerate(frames):
            yield self.found(frame, concepts, dark=number >= 3), frame.shape[:2]


class Uncalibrated(LeftAndTop):
    is_calibrated = False


FOUND = Thresholds.start(calibrated=True)


def ignore(done, count):
    pass


@pytest.fixture
def session(tmp_path):
    session = Session(tmp_path / "visitor", PageLimits(max_frames=6))
    for name, value in (("light.png", 200), ("dark.png", 10)):
        Image.new("RGB", (60, 40), (value,) * 3).save(tmp_path / name)
    assert session.add_targets([tmp_path / "light.png", tmp_path / "dark.png"]) == []
    return session


def references(session, *names):
    photo = session.folder.parent / "light.png"
    return {
        name: [(photo, Mark(np.arange(2400).reshape(40, 60) % len(names) == row))]
        for row, name in enumerate(names)
    }


def label(session, *names, segmenter=None):
    shown = references(session, *names)
    session.results = label_pictures(session, segmenter or LeftAndTop(), shown, ignore)
    return session.results.pictures


def test_thresholds_decide_without_the_network(session):
    light, dark = label(session, "left")
    assert light.labels(FOUND).classes.sum() == 40 * 30
    assert not dark.labels(FOUND).classes.any()
    assert dark.labels(Thresholds(presence=0.1)).classes.sum() == 40 * 30
    assert light.labels(Thresholds(mask=0.87)).classes.sum() == 40 * 26  # sigmoid(1.9) = 0.87
    assert not light.labels(Thresholds(mask=0.89)).classes.any()


def test_classes_compete_for_pixels(session):
    light, dark = label(session, "left", "top")
    labels = light.labels(FOUND).classes
    assert (labels[:17] == 2).all()
    assert (labels[21:, :29] == 1).all()
    assert not labels[21:, 31:].any()
    assert set(np.unique(dark.labels(FOUND).classes)) == {0, 2}


def test_overlays_tell_the_score_and_what_was_not_found(session):
    label(session, "left")
    [(light, line), (dark, other)], counts = draw_pictures(session, session.results, FOUND)
    assert (line, other) == ("0.90 · light.png", "0.20 not found · dark.png")
    assert counts == [1]
    pixels = np.array(Image.open(light))
    assert abs(int(pixels[20, 50].mean()) - 200) < 3
    assert abs(int(pixels[20, 15, 2]) - 200) > 40
    assert np.array(Image.open(dark)).max() < 20
    drawn, counts = draw_pictures(session, session.results, Thresholds(mask=0.95))
    assert drawn[0][1] == "0.90 not found · light.png"
    assert counts == [0]


def test_several_classes_have_their_colours_and_a_legend(session):
    label(session, "left", "top")
    [(light, line), (_, other)], counts = draw_pictures(session, session.results, FOUND)
    assert (line, other) == ("left 0.90, top 0.90 · light.png", "top 0.90 · dark.png")
    pixels = np.array(Image.open(light)).astype(int)
    assert pixels[30, 15].argmax() == 0  # red
    assert pixels[10, 30].argmax() == 1  # green
    told = summary(session.results, counts)
    assert "rgb(255, 0, 0)" in told
    assert "<b>left</b> in 1 of 2 pictures" in told
    assert "<b>top</b> in 2 of 2 pictures" in told


def test_objects_of_a_class_are_told_apart(session):
    class TwoCorners(LeftAndTop):
        def found(self, picture, concepts, dark):
            logits = torch.full((1, 8, 8), -2.0)
            logits[0, :3, :3] = logits[0, 5:, 5:] = 2.0
            return Found(logits, (0.9,), (None,))

    label(session, "corner", segmenter=TwoCorners())
    together, apart = FOUND, replace(FOUND, apart=True)
    assert [line for _, line in draw_pictures(session, session.results, apart)[0]] == [
        "0.90 (2 objects) · light.png",
        "0.90 (2 objects) · dark.png",
    ]
    for thresholds, count in ((together, 1), (apart, 2)):
        coco = json.loads(write_coco(session, thresholds).read_text())
        assert len(coco["annotations"]) == 2 * count


def test_proposals_of_a_method_are_its_objects(session):
    class TwoHalves(LeftAndTop):
        def found(self, picture, concepts, dark):
            halves = torch.zeros(2, 8, 8, dtype=torch.bool)
            halves[0, :, :2] = halves[1, :, 2:] = True
            logits, scores, *_ = super().found(picture, concepts, dark)
            return Found(logits, scores, (halves,))

    light, _ = label(session, "left", segmenter=TwoHalves())
    left, right = light.labels(replace(FOUND, apart=True)).objects
    assert (left.mask.sum(), right.mask.sum()) == (40 * 15, 40 * 15)
    assert left.mask[:, :15].all()


def test_scored_objects_have_their_own_masks_scores_and_colours(session):
    class Pair(LeftAndTop):
        def found(self, picture, concepts, dark):
            masks = torch.zeros(3, 8, 8, dtype=torch.bool)
            masks[0, :, :2] = masks[1, :, 1:6] = masks[2, 6:] = True  # two of them overlap
            scores, concept = torch.tensor([0.9, 0.8, 0.3]), torch.zeros(3, dtype=torch.long)
            objects = Instances.of_masks(masks, scores, concept)
            return super().found(picture, concepts, dark)._replace(instances=objects)

    light, _ = label(session, "left", segmenter=Pair())
    apart = replace(FOUND, apart=True)
    first, second = light.labels(apart).objects  # the third's score is too low
    assert (first.mask.sum(), second.mask.sum()) == (40 * 15, 40 * 38)
    assert (first.score, second.score) == pytest.approx((0.9, 0.8))
    [found, *_] = json.loads(write_coco(session, apart).read_text())["annotations"]
    assert found["score"] == pytest.approx(0.9)
    pixels = np.full((40, 60, 3), 200, np.uint8)
    drawn = draw_labels(pixels, light.labels(apart))
    by_class = draw_labels(pixels, light.labels(apart), by_class=True)
    assert (drawn[20, 5] != drawn[20, 40]).any()
    assert (by_class[20, 5] == by_class[20, 40]).all()
    assert len([*light.labels(FOUND).objects]) == 1


def test_names_are_no_html(session):
    label(session, "<img src=x>")
    assert "<img" not in summary(session.results, [1])


def test_a_score_that_is_no_probability_leaves_nothing_out_and_is_called_a_score(session):
    found = label(session, "left", segmenter=Uncalibrated())
    start = Thresholds.start(calibrated=False)
    assert [one.labels(start).classes.sum() for one in found] == [40 * 30] * 2
    lines = [line for _, line in draw_pictures(session, session.results, start)[0]]
    assert lines == ["score 0.90 · light.png", "score 0.20 · dark.png"]
    coco = json.loads(write_coco(session, start).read_text())
    assert coco["info"] == {"presence_calibrated": False}
    assert [one["score"] for one in coco["images"]] == [{"left": 0.9}, {"left": 0.2}]
    assert len(coco["annotations"]) == 2
    assert "presence" not in coco["images"][0]


def masks_in(path):
    with zipfile.ZipFile(path) as archive:
        return {name: np.array(Image.open(archive.open(name))) for name in archive.namelist()}


def test_masks_are_saved_at_the_pictures_own_size_with_those_of_the_references(session):
    label(session, "left", "top")
    masks = masks_in(write_masks(session, FOUND))
    assert list(masks) == ["light.png", "dark.png", "references/light.png"]
    assert [mask.shape for mask in masks.values()] == [(40, 60)] * 3
    assert set(np.unique(masks["light.png"])) == {0, 1, 2}
    assert np.bincount(masks["references/light.png"].ravel()).tolist() == [0, 1200, 1200]


def test_coco_holds_what_was_found(session):
    light, _ = label(session, "left", "top")
    coco = json.loads(write_coco(session, FOUND).read_text())
    assert [one["file_name"] for one in coco["images"]] == ["light.png", "dark.png"]
    assert coco["info"] == {"presence_calibrated": True}
    assert coco["images"][1]["presence"] == {"left": 0.2, "top": 0.9}
    assert coco["categories"] == [{"id": 1, "name": "left"}, {"id": 2, "name": "top"}]
    found = [(one["image_id"], one["category_id"]) for one in coco["annotations"]]
    assert found == [(1, 1), (1, 2), (2, 2)]
    np.testing.assert_array_equal(
        run_lengths.decode(coco["annotations"][0]["segmentation"]), light.labels(FOUND).classes == 1
    )


def test_nothing_can_be_saved_before_a_result(session):
    with pytest.raises(UsageError, match="no result yet"):
        write_masks(session, FOUND)


def test_stopping_keeps_what_is_done(session):
    def stop(done, count):
        session.stopped.set()

    shown = references(session, "left")
    assert len(label_pictures(session, LeftAndTop(), shown, stop).pictures) == 1
    assert label_pictures(session, LeftAndTop(), shown, ignore).pictures == []


def film_of(session, count, *names, report=ignore):
    path = session.folder.parent / "film.mp4"
    with VideoWriter(path, frames_per_second=10) as writer:
        for _ in range(count):
            writer.write(np.full((32, 48, 3), 200, dtype=np.uint8))
    session.set_video(path)
    session.results = label_video(session, LeftAndTop(), references(session, *names), 0, report)
    return session.results


def test_a_video_gets_its_classes_on_every_frame(session):
    told = []
    film = film_of(session, 5, "left", "top", report=lambda *numbers: told.append(numbers))
    assert isinstance(film, FilmResults)
    path, counts = draw_film(session, film, FOUND, ignore)
    assert counts == [3, 5]
    with FrameReader(path) as reader:
        frames = [frame.astype(int) for frame in reader]
    assert (reader.count, reader.size, reader.frames_per_second) == (5, (32, 48), 10)
    assert told == [(n, 5) for n in range(1, 6)]
    assert abs(frames[0][28, 40].mean() - 200) < 8
    assert frames[0][26, 10].argmax() == 0
    assert frames[0][6, 30].argmax() == 1
    assert abs(frames[4][26, 10].mean() - 200) < 8


def test_thresholds_act_on_a_video(session):
    film = film_of(session, 5, "left")
    assert draw_film(session, film, Thresholds(presence=0.1), ignore)[1] == [5]
    assert draw_film(session, film, Thresholds(presence=0.95), ignore)[1] == [0]
    assert draw_film(session, film, Thresholds(mask=0.95), ignore)[1] == [0]


def test_masks_and_coco_of_a_video_are_saved(session):
    film_of(session, 4, "left", "top")
    masks = masks_in(write_masks(session, FOUND))
    assert [*masks] == [*(f"film/{n:05d}.png" for n in range(4)), "references/light.png"]
    assert masks["film/00000.png"].shape == (32, 48)
    assert [set(np.unique(masks[f"film/{n:05d}.png"])) for n in (0, 3)] == [{0, 1, 2}, {0, 2}]
    coco = json.loads(write_coco(session, FOUND).read_text())
    assert [(one["file_name"], one["frame"]) for one in coco["images"]] == [
        ("film.mp4", n) for n in range(4)
    ]
    assert coco["images"][0]["score"] == {"left": 0.9, "top": 0.9}
    assert len(coco["annotations"]) == 3 * 2 + 1


def test_stored_logits_keep_their_signs(tmp_path):
    logits = torch.tensor([[[-1024.0, -0.001, 0.001, 0.5, 1.0, 9.0]]])
    store_logits(tmp_path / "frame.npz", logits)
    with np.load(tmp_path / "frame.npz") as stored:
        steps = stored["logits"].ravel() * STEP
    assert steps.tolist() == [-127 / 32, -STEP, STEP, 0.5, 1.0, 127 / 32]


def test_a_stopped_video_ends_early(session):
    def stop(done, count):
        if done == 3:
            session.stopped.set()

    path, _ = draw_film(session, film_of(session, 5, "left", report=stop), FOUND, ignore)
    with FrameReader(path) as reader:
        assert reader.count == 3


def test_a_video_that_hides_its_length_is_cut_off_at_the_limit(session, monkeypatch):
    monkeypatch.setattr(
        PageLimits, "check_video", lambda self, path: Uncounted(reader=FrameReader(path))
    )
    session.limits = PageLimits(max_frames=4)
    with pytest.raises(UsageError, match="more than the 4 frames"):
        film_of(session, 6, "left")


class Uncounted(SimpleNamespace):
    """A reader that does not know how many frames there are."""

    count = frames_per_second = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()

    def __iter__(self):
        return iter(self.reader)
