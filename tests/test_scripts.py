import json
import os
import runpy
import subprocess
import sys

import pytest

import train_image
from common.files import ROOT
from model.registry import METHODS, READY

MODULES = [
    *("train_image", "eval_image", "eval_instance", "train_video", "eval_video", "predict"),
    *("eval_semantic", "eval_correspondence", "reproduce", "app"),
    *("data.synthetic.__main__", "tools.prepare", "tools.build_icvos"),
    *(
        "tools.pretrain.backbone",
        "tools.pretrain.segmenter",
        "tools.pretrain.memory",
        "tools.pretrain.report",
    ),
    *("tools.import_checkpoint", "tools.publish"),
    *("tools.calibrate", "tools.demo", "tools.weights", "tools.export_onnx", "tools.compare"),
    "tools.significance",
    *("tools.benchmark", "tools.cache_features"),
    "tools.label_cluster",
]


ASK = """
import contextlib, io, json, runpy, sys

def answer(name, flag):
    sys.argv, said = [name, flag], io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_module(name, run_name="__main__")
        except SystemExit as stop:
            return stop.code, said.getvalue()

names = json.loads(sys.argv[1])
answers = {flag: {n: answer(n, flag) for n in names} for flag in ("--help", "--no_such_flag")}
slow = ("torch", "torchvision", "timm", "transformers", "scipy", "gradio", "matplotlib")
answers["imported"] = [package for package in slow if package in sys.modules]
print(json.dumps(answers))
"""


TAKING_METHODS = (
    *("predict", "eval_image", "eval_instance", "eval_semantic", "eval_correspondence"),
    *("eval_video", "tools.export_onnx", "tools.label_cluster"),
)


@pytest.mark.parametrize("method", READY)
@pytest.mark.parametrize("name", TAKING_METHODS)
def test_the_flags_of_a_method_meet_no_others(name, method, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--method", method, "--help"])
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(name, run_name="__main__")
    assert stop.value.code == 0
    assert f"({METHODS[method].title})" in capsys.readouterr().out


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, list]]:
    """What every script says to --help and to a wrong flag, all told by one new process."""
    told = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(MODULES)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(told.stdout)


@pytest.mark.parametrize("name", MODULES)
def test_help_is_given(name, answers):
    code, said = answers["--help"][name]
    assert code == 0
    assert "usage" in said


@pytest.mark.parametrize("name", MODULES)
def test_a_wrong_flag_is_refused(name, answers):
    code, said = answers["--no_such_flag"][name]
    assert code == 2
    assert "usage" in said


def test_neither_waits_for_what_takes_seconds_to_import(answers):
    assert answers["imported"] == []


def test_help_shows_the_flags_of_the_chosen_method(script):
    outcome = script(train_image, "--help", "--method", "dc_sam")
    assert outcome.code == 0
    assert "What the model is made of (DC-SAM)" in outcome.output
    assert "--num_query" in outcome.output
    unknown = script(train_image, "--method", "other")
    assert unknown.code == 2
    assert "invalid choice: 'other'" in unknown.error


def test_a_flag_that_decides_about_others_cannot_be_shortened(script):
    # the defaults of PASCAL would be taken for COCO
    outcome = script(train_image, "--bench", "coco")
    assert outcome.code == 2
    assert "--bench" in outcome.error


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--lr", "nan", "--lr must be a number, not nan"),
        ("--lr", "inf", "--lr must be above 0 and finite, not inf"),
        ("--seed", str(2**70), f"--seed must be at most {2**63 - 1}"),
        ("--image_size", str(10**9), "--image_size must be at most 8192"),
        ("--num_query", str(10**9), "--num_query must be at most 10000"),
    ],
)
def test_numbers_that_no_training_takes_are_refused(script, tmp_path, flag, value, words):
    outcome = script(train_image, "--datapath", tmp_path, "--output", tmp_path, flag, value)
    assert outcome.code == 2
    assert words in outcome.error
