import runpy
import sys

import pytest

MODULES = ["train_image", "eval_image", "predict", "demo", "data.generated", "data.prepare"]
MODULES += [
    "calibrate",
    "pretrain.backbone",
    "pretrain.segmenter",
    "common.import_release",
    "reproduce",
]
MODULES += ["common.release", "data.build_icvos"]


@pytest.mark.parametrize("name", MODULES)
def test_help_is_given(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(SystemExit) as stop:
        runpy.run_module(name, run_name="__main__")

    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out
