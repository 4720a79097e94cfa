"""PFENet in the scripts: trained, evaluated, compared, used, and its first masks carried on."""

import json

import numpy as np
import pytest
from PIL import Image

import eval_image
import eval_video
import predict
import train_image
from common.checkpoint import read_facts
from model.pfenet.config import HYPER_PARAMETERS
from page.methods import Methods
from tests.helpers import save_reference
from tests.runs import (
    assert_it_beats_what_needs_no_training,
    assert_nothing_depends_on_workers_or_stopping,
    assert_processes_learn_the_same,
)
from tests.video_cases import write_coco, write_icvos
from tools import compare

METHOD = ("--method", "pfenet")
SHORT = ("--max_iterations", 2, "--bsz", 2, "--image_size", 64, "--width", 8)


def test_it_is_trained_and_used_wherever_a_method_can_be_named(
    script, tiny_flags, generated, monkeypatch, tmp_path
):
    run, out = tmp_path / "run", tmp_path / "out"
    flags = (*METHOD, *tiny_flags, "--output", run, *SHORT, "--nshot", 2)
    assert script(train_image, *flags).code == 0
    ckpt = run / "last.safetensors"
    facts = read_facts(ckpt)
    assert (facts["method"], facts["losses"]) == ("pfenet", {"auxiliary_weight": 1.0})
    assert facts["training"]["schedule"] == "poly"

    tested = ("--datapath", generated, "--device", "cpu", "--nworker", 0, "--test_episodes", 4)
    assert (
        script(eval_image, "--ckpt", ckpt, *tested, "--nshot", 5, "--output", out / "5").code == 0
    )
    assert json.loads((out / "5" / "results.json").read_text())["miou"] >= 0
    monkeypatch.setattr(compare, "run_command", lambda *words: script(eval_image, *words[1:]))
    data = ("--benchmark", "pascal", "--fold", 0, *tested, "--output", out / "compared")
    assert script(compare, "--methods", ckpt, *data).code == 0
    assert "PFENet" in (out / "compared" / "comparison.md").read_text()

    reference = save_reference(tmp_path)
    named = ("--ckpt", ckpt, "--device", "cpu", "--output", out / "labelled")
    assert script(predict, *named, *reference, "--target", tmp_path / "reference.png").code == 0
    [mask] = (out / "labelled" / "masks").iterdir()
    assert np.array(Image.open(mask)).shape == (50, 70)
    methods = Methods.found(ckpt, "cpu")
    assert methods.segmenter(methods.first).method.name == "pfenet"

    videos = ("--icvos_path", write_icvos(tmp_path / "IC-VOS"), "--coco_path", write_coco(tmp_path))
    carried = ("--ckpt", ckpt, *videos, "--max_frames", 2, "--device", "cpu")
    assert "pfenet has no memory: --sam2_cfg names" in script(eval_video, *carried).error
    outcome = script(eval_video, *carried, "--sam2_cfg", "tiny", "--output", out / "videos")
    assert outcome.code == 0, outcome.error
    assert json.loads((out / "videos" / "results.json").read_text())["items"] == 4


def test_it_is_trained_as_published():
    pascal, coco = (HYPER_PARAMETERS["paper"][name] for name in ("pascal", "coco"))
    for numbers, expected in (
        (pascal, {"image_size": 473, "scales": "fixed", "epochs": 200, "bsz": 4, "lr": 0.0025}),
        (coco, {"image_size": 641, "scales": "shares", "epochs": 50, "bsz": 8, "lr": 0.005}),
    ):
        every = {"optimizer": "sgd", "schedule": "poly", "weight_decay": 1e-4}
        assert numbers == expected | every


@pytest.mark.slow
def test_neither_workers_nor_a_stop_nor_processes_change_what_is_learned(
    script, torchrun, tiny_flags, tmp_path
):
    flags = (*METHOD, *tiny_flags, *SHORT[2:])
    several = (*flags, "--bsz", 4, "--max_iterations", 40)
    assert_nothing_depends_on_workers_or_stopping(script, several, tmp_path)
    short = ("train_image.py", *flags, "--max_iterations", 3)
    assert_processes_learn_the_same(torchrun, short, tmp_path)


@pytest.mark.slow
def test_a_short_training_beats_what_needs_no_training_on_unseen_classes(script, tmp_path):
    assert_it_beats_what_needs_no_training(script, METHOD, 300, tmp_path)
