"""`python -m data.synthetic` draws by default what the demos read, so that they take it."""

import pytest

from common.commands import CommandFailed
from data.synthetic import __main__ as command
from tools import demo


@pytest.fixture
def drawn(script, monkeypatch):
    """Runs the command; returns what would be drawn: the layout and the writer's arguments."""
    calls = []
    for layout in ("voc", "coco", "icvos"):
        monkeypatch.setattr(
            command, f"write_{layout}", lambda *words, layout=layout: calls.append((layout, *words))
        )

    def run(*words):
        calls.clear()
        assert script(command, *words).code == 0
        return calls[0]

    return run


@pytest.mark.parametrize(("name", "layouts"), [("images", ["voc"]), ("video", ["coco", "icvos"])])
def test_the_demos_draw_the_default(script, monkeypatch, tmp_path, drawn, name, layouts):
    commands = []

    def run_command(*words):
        if words[:2] != ("-m", "data.synthetic"):
            raise CommandFailed("only what is drawn is asked for")
        commands.append(words[2:])

    monkeypatch.setattr(demo, "run_command", run_command)
    assert script(demo, name, "--datapath", tmp_path).code == 1
    assert [words[0] for words in commands] == layouts
    for layout, words in zip(layouts, commands, strict=True):
        assert drawn(*words) == drawn(layout, "--root", tmp_path)


def test_the_numbers_can_be_chosen(drawn, tmp_path):
    assert drawn("coco", "--root", tmp_path, "--val", "7")[2] == {"train": 1600, "val": 7}
    assert drawn("icvos", "--root", tmp_path, "--videos", "3")[2:4] == (3, 16)


@pytest.mark.parametrize(
    ("layout", "folder"), [("perseg", "PerSeg"), ("pascal_part", "PASCAL-Part")]
)
def test_folders_of_images_are_drawn_once(script, tmp_path, layout, folder):
    flags = (layout, "--root", tmp_path, "--val", 2, "--classes", 4, "--workers", 1)
    assert script(command, *flags).code == 0
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / folder).rglob("*")}
    assert len(files) > 8
    assert script(command, *flags).code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / folder).rglob("*")} == files
    assert "holds something else" in script(command, *flags, "--seed", 1).error
