"""Programs on a disk that takes no more: one line, and given again with room they go on."""

import json

import pytest
from PIL import Image
from safetensors.torch import load_file

import eval_image
import predict
import train_image
from tests.helpers import coloured_cells, no_file_grows_beyond, save_reference
from tools import calibrate

RUN = ("--epochs", 2, "--episodes_per_epoch", 4, "--update_size", 2, "--bsz", 1)


def told_in_one_line(error: str) -> bool:
    return "Traceback" not in error and "cannot write" in error


@pytest.mark.parametrize("room", [100, 700])
def test_pictures_are_labelled_once_there_is_room(script, trained, tmp_path, room):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.fromarray(coloured_cells(number)).save(tmp_path / "photos" / f"{number}.png")
    flags = ("--ckpt", trained, "--device", "cpu", *save_reference(tmp_path))
    flags = (*flags, "--target", tmp_path / "photos", "--output", tmp_path / "out")

    with no_file_grows_beyond(room):
        full = script(predict, *flags)
    assert full.code in (1, 2)
    assert told_in_one_line(full.error), full.error
    assert not list((tmp_path / "out").rglob(".*"))

    again = script(predict, *flags)
    assert again.code == 0, again.error
    assert "3 labelled" in again.output
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert len(coco["images"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("room", [100, 20_000, 400_000])
def test_a_training_goes_on_once_there_is_room(script, tiny_flags, tmp_path, room):
    flags = (*tiny_flags, *RUN, "--resume_if_begun")
    with no_file_grows_beyond(room):
        full = script(train_image, *flags, "--output", tmp_path / "run")
    assert full.code in (1, 2)
    assert "Traceback" not in full.error, full.error
    assert script(train_image, *flags, "--output", tmp_path / "run").code == 0
    assert script(train_image, *flags, "--output", tmp_path / "whole").code == 0
    for name in ("last.safetensors", "best.safetensors"):
        expected, found = load_file(tmp_path / "whole" / name), load_file(tmp_path / "run" / name)
        assert expected.keys() == found.keys()
        assert all(value.equal(found[key]) for key, value in expected.items())


@pytest.mark.slow
def test_an_evaluation_goes_on_once_there_is_room(script, trained, generated, tmp_path):
    flags = ("--ckpt", trained, "--datapath", generated, "--device", "cpu", "--nworker", 0)
    flags = (*flags, "--test_episodes", 8, "--output", tmp_path / "out")
    for room in (10, 1_000, 5_000):
        with no_file_grows_beyond(room):
            full = script(eval_image, *flags)
        assert full.code in (1, 2)
        assert told_in_one_line(full.error), full.error
    assert not list((tmp_path / "out").rglob(".*"))
    again = script(eval_image, *flags)
    assert again.code == 0, again.error
    assert json.loads((tmp_path / "out" / "results.json").read_text())["episodes"] == 8


@pytest.mark.slow
def test_a_calibration_without_room_leaves_the_checkpoint(script, trained, generated, tmp_path):
    checkpoint = tmp_path / "last.safetensors"
    checkpoint.write_bytes(trained.read_bytes())
    flags = ("--ckpt", checkpoint, "--datapath", generated, "--episodes", 4, "--nworker", 0)
    with no_file_grows_beyond(100_000):
        full = script(calibrate, *flags, "--device", "cpu")
    assert full.code == 2
    assert told_in_one_line(full.error), full.error
    assert checkpoint.read_bytes() == trained.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]
