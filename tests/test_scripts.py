import runpy
import sys

import pytest

MODULES = [
    *("train_image", "eval_image", "train_video", "eval_video", "predict", "calibrate"),
    *("demo", "demo_video", "reproduce", "app"),
    *("data.generated", "data.prepare", "data.build_icvos"),
    *("pretrain.backbone", "pretrain.segmenter", "pretrain.memory", "pretrain.report"),
    *("common.import_release", "common.release"),
]


@pytest.mark.parametrize("name", MODULES)
def test_help_is_given(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(SystemExit) as stop:
        runpy.run_module(name, run_name="__main__")

    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out
