import json
from pathlib import Path

import pytest

import eval_image
import eval_instance
import eval_video
import train_image
import train_video
from common.commands import CommandFailed
from tools import demo

MODULES = (train_image, train_video, eval_image, eval_instance, eval_video)
SCRIPTS = {f"{m.__name__}.py": m for m in MODULES}


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that a demo runs; their scripts read their flags, and leave what they would."""
    run: list[list[str]] = []

    def note(*words: object) -> None:
        line = [str(word) for word in words]
        run.append(line)
        if "tools.compare" in line:
            folder = Path(line[line.index("--output") + 1])
            folder.mkdir()
            (folder / "comparison.png").touch()
        if line[0] not in SCRIPTS:
            return
        monkeypatch.setattr("sys.argv", line)
        folder = Path(line[line.index("--output") + 1])
        SCRIPTS[line[0]].parse_options()
        (folder / "overlays").mkdir(parents=True)
        for name in ("last.safetensors", "contact_sheet.png", "overlays/a.mp4"):
            (folder / name).touch()
        score = 10.0 * len(run)
        scores = {"miou": score, "fb_iou": score + 1, "jf": score, "j": score, "f": score}
        parts = {"box": {"ap": score}, "mask": {"ap": score + 2}}
        results = {**scores, **parts, "baselines": {"prior mask": score - 5}}
        (folder / "results.json").write_text(json.dumps(results))

    monkeypatch.setattr(demo, "run_command", note)
    return run


def run_demo(monkeypatch: pytest.MonkeyPatch, folder: Path, *flags: str) -> int:
    data = ("--datapath", str(folder), "--output", str(folder / "demo"))
    monkeypatch.setattr("sys.argv", ["demo", flags[0], *data, *flags[1:]])
    return demo.main()


@pytest.mark.parametrize(
    ("flags", "pictures"),
    [
        (("images",), 2),
        (("images", "--folds", "0", "1", "2"), 6),
        (("pairs",), 1),
        (("video",), 2),
        (("instances",), 1),
    ],
    ids=str,
)
def test_what_is_named_at_the_end_is_there(
    flags: tuple, pictures: int, commands: list, tmp_path: Path, monkeypatch, capsys
):
    assert run_demo(monkeypatch, tmp_path, *flags) == 0
    *_, last = capsys.readouterr().out.splitlines()
    named = last.partition("Look at ")[2].split(", ")
    assert len(named) == pictures
    assert all(Path(path).is_file() for path in named)


def test_folds_are_averaged(commands: list, tmp_path: Path, monkeypatch, capsys):
    assert run_demo(monkeypatch, tmp_path, "images", "--folds", "0", "2") == 0
    # after drawing, each fold is trained, tested with 1 shot (30, 70) and 5 (40, 80), and compared
    results = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert (results["miou"], results["fb_iou"], results["miou_5_shot"]) == (50, 51, 60)
    assert results["baselines"] == {"prior mask": 45}
    assert results["folds"]["2"]["1_shot"]["miou"] == 70
    assert "prior mask                45.0" in capsys.readouterr().out


def test_what_was_begun_is_resumed(commands: list, tmp_path: Path, monkeypatch):
    tubes = tmp_path / "demo" / "tubes"
    tubes.mkdir(parents=True)
    (tubes / "state.pt").touch()
    monkeypatch.setattr(demo, "run_command", lambda *words: commands.append(list(map(str, words))))
    with pytest.raises(FileNotFoundError):  # nothing was evaluated
        run_demo(monkeypatch, tmp_path, "video")
    first, second = (words for words in commands if words[0] == "train_video.py")
    assert "--resume" not in first
    assert "--resume" in second


def test_a_failed_step_leaves_no_results(tmp_path: Path, monkeypatch, capsys):
    def fail(*words: object) -> None:
        raise CommandFailed("exit code 3 of: python -m data.synthetic")

    monkeypatch.setattr(demo, "run_command", fail)
    assert run_demo(monkeypatch, tmp_path, "video") == 1
    assert "error: exit code 3" in capsys.readouterr().err
    assert not (tmp_path / "demo" / "results.json").exists()
