"""predict.py with methods that need no checkpoint, on tiny networks instead of official ones."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import predict
from common.errors import UsageError
from common.images import read_image
from labelling.choice import require_sam
from model.choice import Choice
from model.registry import METHODS
from tests.helpers import coloured_cells, save_reference, save_tiny_checkpoint

TINY = ("--method", "insid3", "--size", "tiny")


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """Flags to label two pictures, where no official weights are."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("model.fetching.try_to_load_from_cache", lambda *_: None)
    (tmp_path / "photos").mkdir()
    for number in range(2):
        cells = coloured_cells(number, (70 + 10 * number, 50))
        Image.fromarray(cells).save(tmp_path / "photos" / f"{number}.png")
    where = ("--output", tmp_path / "out", "--target", tmp_path / "photos", "--device", "cpu")
    return (*where, *save_reference(tmp_path))


def marked_by(flags, tmp_path, *marks):
    """The flags with other marks on the same reference."""
    given = [word for mark in marks for word in ("--reference", tmp_path / "reference.png", mark)]
    return (*flags[:-3], *given)


def test_without_weights_one_line_says_which_command_fetches_what(script, flags, tmp_path):
    outcome = script(predict, *flags)
    assert outcome.code == 2
    [line] = outcome.error.strip().splitlines()
    assert "no method has its weights here: `python -m tools.weights fetch " in line
    assert str(tmp_path / "weights") in line
    assert "licence" in line
    assert outcome.output == ""
    assert not (tmp_path / "out").exists()


def test_objects_that_a_method_scores_are_annotations_with_score_and_box(script, flags, tmp_path):
    sine = ("--method", "sine", "--size", "tiny", "--instances")
    outcome = script(predict, *flags, *sine, "--instance_score", 0.01)
    assert outcome.code == 0, outcome.error
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert len(coco["annotations"]) > 2
    for image in coco["images"]:
        own = [one for one in coco["annotations"] if one["image_id"] == image["id"]]
        assert [one["instance"] for one in own] == [*range(1, len(own) + 1)]
        scores = [one["score"] for one in own]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= 0.01
        assert image["score"] == {"object": scores[0]}
        name = image["mask"].replace("masks/", "instances/")
        numbers = np.array(Image.open(tmp_path / "out" / name))
        assert numbers.shape == (image["height"], image["width"])
        assert set(np.unique(numbers)) <= {0, *range(1, len(own) + 1)}
    again = script(predict, *flags, *sine, "--instance_score", 0.9)
    assert "other settings (instance_score)" in again.error


def test_objects_keep_their_numbers_through_a_video(script, flags, tmp_path):
    frames = tmp_path / "walk"
    frames.mkdir()
    for number in range(3):
        moved = np.roll(coloured_cells(9), 2 * number, axis=1)
        Image.fromarray(moved).save(frames / f"{number}.png")
    sine = ("--method", "sine", "--size", "tiny", "--instances", "--instance_score", 0.01)
    video = [frames if word == tmp_path / "photos" else word for word in flags]
    outcome = script(predict, *video, *sine, "--frames")
    assert outcome.code == 0, outcome.error
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert len(coco["images"]) == 3
    class_of = {}
    for image in coco["images"]:
        numbers = np.array(
            Image.open(tmp_path / "out" / image["mask"].replace("masks/", "instances/"))
        )
        own = [one for one in coco["annotations"] if one["image_id"] == image["id"]]
        assert {one["instance"] for one in own} == {*np.unique(numbers).tolist()} - {0}
        for one in own:
            assert class_of.setdefault(one["instance"], one["category_id"]) == one["category_id"]
            assert one["area"] == (numbers == one["instance"]).sum()
    assert class_of


def test_a_named_method_without_its_weights_says_the_same(script, flags, tmp_path):
    outcome = script(predict, *flags, "--method", "insid3", "--size", "small")
    assert outcome.code == 2
    [line] = outcome.error.strip().splitlines()
    assert "official weights are missing: `python -m tools.weights fetch dinov3" in line
    assert not (tmp_path / "out").exists()


def test_a_method_labels_pictures_and_is_recorded(script, flags, tmp_path):
    outcome = script(predict, *flags, *TINY, "--label_studio")
    assert outcome.code == 0, outcome.error
    assert "warning: INSID3: it learned from drawings alone" in outcome.error
    assert 'class "object", 17.1 % of the picture' in outcome.output
    assert "2 labelled, 0 were done before, 0 failed" in outcome.output
    out = tmp_path / "out"
    assert read_image(out / "masks" / "1.png").shape == (50, 80, 3)
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["method"], settings["model"]["size"]) == ("insid3", "tiny")
    [task, _] = json.loads((out / "label_studio.json").read_text())
    assert task["predictions"][0]["model_version"] == "INSID3"
    # the same folder takes no results of another method
    checkpoint = save_tiny_checkpoint(tmp_path / "last.safetensors")
    other = script(predict, *flags, "--ckpt", checkpoint)
    assert other.code == 2
    assert "other settings (checkpoint" in other.error


def test_the_best_method_at_hand_is_taken_and_said(script, flags, monkeypatch):
    def choices():
        options = METHODS["insid3"].options
        return [
            Choice("insid3", options(size="large"), "the best"),
            Choice("insid3", options(size="tiny"), "small enough for this test"),
        ]

    monkeypatch.setattr("labelling.choice.available_methods", choices)
    outcome = script(predict, *flags)
    assert outcome.code == 0, outcome.error
    assert "method: INSID3 (tiny), small enough for this test" in outcome.output


def test_a_box_points_and_a_scribble_become_masks_that_are_shown(script, flags, tmp_path):
    strokes = np.zeros((50, 70), dtype=np.uint8)
    strokes[20, 25:45] = 255
    Image.fromarray(strokes).save(tmp_path / "strokes.png")
    marks = ("box:20,10,50,30", "points:30,20;40,20", f"scribble:{tmp_path / 'strokes.png'}")
    given = marked_by(flags, tmp_path, *marks)
    outcome = script(predict, *given, *TINY, "--class_name", "a", "b/c", "d")
    assert outcome.code == 0, outcome.error
    shown = sorted(path.name for path in (tmp_path / "out" / "references").iterdir())
    assert shown == ["a_1.png", "b_c_1.png", "d_1.png"]
    reference = read_image(tmp_path / "reference.png")
    for name in shown:
        assert (read_image(tmp_path / "out" / "references" / name) != reference).any()
    assert "SAM made masks of the marks: see" in outcome.output
    categories = json.loads((tmp_path / "out" / "coco.json").read_text())["categories"]
    assert [category["name"] for category in categories] == ["a", "b/c", "d"]


def test_another_box_is_another_setting(script, flags, tmp_path):
    given = marked_by(flags, tmp_path, "box:20,10,50,30")
    assert script(predict, *given, *TINY).code == 0
    assert "2 were done" in script(predict, *given, *TINY).output
    outcome = script(predict, *marked_by(flags, tmp_path, "box:20,10,50,31"), *TINY)
    assert "other settings (references)" in outcome.error


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--reference", "a.png", "box:1,2"), "expected numbers as in box:40,60,300,420"),
        (("--ids", 9), "has only 1"),
        (("--ckpt", "a.safetensors"), "give --method or --ckpt, not both"),
        (("--tau", "x"), "invalid float value"),
    ],
)
def test_wrong_use_is_refused(script, flags, tmp_path, wrong, message):
    outcome = script(predict, *flags, *TINY, *wrong)
    assert outcome.code == 2
    assert message in outcome.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (("--method", "insid3", "--size", "small"), ("dinov3_s",)),
        ((), METHODS["insid3"].options().files()),  # the preferred one
    ],
)
def test_what_is_missing_is_fetched_where_that_is_asked(script, flags, monkeypatch, given, wanted):
    asked = []

    def fetch(names, fetch):
        asked.append((tuple(names), fetch))
        raise UsageError("no network here")

    monkeypatch.setattr("model.checkpoint.ensure", fetch)
    outcome = script(predict, *flags, *given, "--fetch")
    assert outcome.code == 2
    assert asked == [(wanted, True)]


def test_a_sam_is_fetched_for_a_box_where_the_method_has_none(monkeypatch, flags):
    method = {"prompt_kinds": ("mask",), "promptable": None, "has_memory": False}
    only_masks = SimpleNamespace(method=SimpleNamespace(**method, knows_drawings_only=False))
    asked = []
    monkeypatch.setattr("labelling.choice.ensure", lambda *given: asked.append(given))
    require_sam(only_masks, ["mask", "mask"], False, True)
    assert asked == []
    require_sam(only_masks, ["mask", "box"], False, True)
    require_sam(only_masks, ["mask"], True, False)
    assert asked == [(["sam2.1_hiera_b+"], True), (["sam2.1_hiera_b+"], False)]
