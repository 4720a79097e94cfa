"""predict.py given again: what is done stays, and results never lie about what they belong to."""

import json
import math
import os

import numpy as np
import pytest
from PIL import Image

import predict
from common.checkpoint import read_facts, read_weights, save_checkpoint
from tests.helpers import coloured_cells, save_reference, save_tiny_checkpoint


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A checkpoint without a calibration."""
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "last.safetensors")


def write_picture(path, seed, size=(70, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coloured_cells(seed, size)).save(path)


@pytest.fixture
def label(script, plain, tmp_path):
    """Labels three pictures, or another target, into the folder `out`."""
    for number in range(3):
        write_picture(tmp_path / "photos" / f"{number}.png", number)
    same = ("--device", "cpu", "--ckpt", plain, "--output", tmp_path / "out", "--no_overlays")
    reference = save_reference(tmp_path)

    def run(*flags, target=tmp_path / "photos"):
        return script(predict, *same, *reference, "--target", target, *flags)

    return run


def read_labels(path):
    with Image.open(path) as image:
        return np.array(image)


def coco_of(out):
    return json.loads((out / "coco.json").read_text())


def test_without_a_calibration_nothing_is_left_out_and_scores_are_no_probabilities(label, tmp_path):
    assert label().code == 0
    coco = coco_of(tmp_path / "out")
    assert len(coco["annotations"]) == 3
    assert coco["info"]["presence_calibrated"] is False
    assert all(set(image["score"]) == {"object"} for image in coco["images"])
    assert not any("presence" in image for image in coco["images"])
    record = json.loads((tmp_path / "out" / "records" / "0.json").read_text())
    assert record["presence_calibrated"] is False

    assert label("--presence", 1, "--output", tmp_path / "none").code == 0
    assert coco_of(tmp_path / "none")["annotations"] == []
    assert not read_labels(tmp_path / "none" / "masks" / "0.png").any()


@pytest.mark.parametrize(("bias", "there"), [(-20.0, 0), (20.0, 3)])
def test_with_a_calibration_absent_objects_are_left_out(label, plain, tmp_path, bias, there):
    calibrated = tmp_path / "calibrated.safetensors"
    facts = read_facts(plain) | {"presence": {"weights": [0.0, 0.0, 0.0], "bias": bias}}
    save_checkpoint(calibrated, read_weights(plain), facts)
    assert label("--ckpt", calibrated).code == 0
    coco = coco_of(tmp_path / "out")
    assert len(coco["annotations"]) == there
    assert coco["info"]["presence_calibrated"] is True
    likely = 1 / (1 + math.exp(-bias))
    assert [image["presence"]["object"] for image in coco["images"]] == [round(likely, 4)] * 3

    assert label("--ckpt", calibrated, "--presence", 0, "--output", tmp_path / "all").code == 0
    assert len(coco_of(tmp_path / "all")["annotations"]) == 3


def test_done_pictures_are_skipped_and_changed_ones_are_not(label, tmp_path):
    assert "3 labelled, 0 were done" in label().output
    assert "0 labelled, 3 were done" in label().output

    (tmp_path / "out" / "masks" / "0.png").unlink()
    write_picture(tmp_path / "photos" / "1.png", 7, (40, 40))
    outcome = label()

    assert "2 labelled, 1 were done" in outcome.output
    assert read_labels(tmp_path / "out" / "masks" / "1.png").shape == (40, 40)


def test_equal_names_from_different_folders_get_different_files(label, tmp_path):
    out = tmp_path / "out"
    for number, name in enumerate("AB"):
        path = tmp_path / name / "IMG_0001.png"
        write_picture(path, number, (60 + 10 * number, 50))
        assert "1 labelled, 0 were done" in label(target=path).output
        assert "0 labelled, 1 were done" in label(target=path).output

    images = coco_of(out)["images"]
    assert [image["file_name"] for image in images] == ["A/IMG_0001.png", "B/IMG_0001.png"]
    assert [image["width"] for image in images] == [60, 70]
    masks = [read_labels(out / image["mask"]) for image in images]
    assert [mask.shape[1] for mask in masks] == [60, 70]


@pytest.mark.parametrize("age", [-1000, 0])
def test_a_picture_replaced_by_another_of_its_size_or_an_older_one_is_redone(label, tmp_path, age):
    path = tmp_path / "photos" / "1.png"
    Image.new("RGB", (40, 40), "white").save(path, compress_level=0)
    then = path.stat()
    assert label().code == 0
    Image.fromarray(coloured_cells(0, (40, 40))).save(path, compress_level=0)
    assert path.stat().st_size == then.st_size
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns + age * 10**9))
    assert "1 labelled, 2 were done" in label().output


def test_a_deleted_picture_is_no_longer_in_the_coco_file(label, tmp_path):
    assert label().code == 0
    (tmp_path / "photos" / "1.png").unlink()
    assert "0 labelled, 2 were done" in label().output
    coco = coco_of(tmp_path / "out")
    assert [image["file_name"] for image in coco["images"]] == ["0.png", "2.png"]
    assert {annotation["image_id"] for annotation in coco["annotations"]} == {1, 2}


def test_a_picture_that_became_unreadable_is_no_longer_in_the_coco_file(label, tmp_path):
    assert label().code == 0
    (tmp_path / "photos" / "1.png").write_bytes(b"no image")
    assert label().code == 1
    images = coco_of(tmp_path / "out")["images"]
    assert [image["file_name"] for image in images] == ["0.png", "2.png"]


def test_a_picture_that_comes_later_is_no_second_one_of_the_same_name(label, tmp_path):
    assert label().code == 0
    Image.open(tmp_path / "photos" / "0.png").convert("RGB").save(tmp_path / "photos" / "0.jpg")
    assert "1 labelled, 3 were done" in label().output
    images = coco_of(tmp_path / "out")["images"]
    assert sorted(image["file_name"] for image in images) == ["0.jpg", "0.png", "1.png", "2.png"]
    masks = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    assert masks == ["0.jpg.png", "0.png", "1.png", "2.png"]


def test_results_of_other_settings_are_not_mixed(label):
    assert label().code == 0
    outcome = label("--presence", 0.5)
    assert outcome.code == 2
    assert "other settings (presence)" in outcome.error
