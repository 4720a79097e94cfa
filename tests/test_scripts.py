import runpy
import sys

import pytest

MODULES = [
    *("train_image", "eval_image", "train_video", "eval_video", "predict"),
    *("reproduce", "app"),
    *("data.synthetic.__main__", "tools.prepare", "tools.build_icvos"),
    *(
        "tools.pretrain.backbone",
        "tools.pretrain.segmenter",
        "tools.pretrain.memory",
        "tools.pretrain.report",
    ),
    *("tools.import_checkpoint", "tools.publish"),
    *("tools.calibrate", "tools.demo", "tools.weights"),
]


@pytest.mark.parametrize("name", MODULES)
def test_help_is_given(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(SystemExit) as stop:
        runpy.run_module(name, run_name="__main__")

    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out
