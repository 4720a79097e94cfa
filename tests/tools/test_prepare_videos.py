from pathlib import Path

import pytest

from data.reader import DESCRIPTION_FILE
from data.synthetic.video_sets import write_davis, write_youtube_vos
from tools import prepare


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("Datasets")
    write_davis(root / "DAVIS", videos=1, frames=2, workers=0)
    write_youtube_vos(root / "YouTube-VOS-2018", videos=2, frames=6, workers=0)
    return root


@pytest.mark.parametrize(
    ("name", "line"), [("davis", "2016 val: 1 videos, 2 frames"), ("ytvos18", "valid: 2 videos, 4")]
)
def test_drawn_videos_are_counted_and_compared_with_nothing(drawn, capsys, name, line):
    assert prepare.main([name, "--root", str(drawn)]) == 0
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "folder", "lines"),
    [
        ("davis", "DAVIS", ["2017 val: videos: 1 instead of 30", "2016 val: frames: 2 instead of"]),
        ("ytvos18", "YouTube-VOS-2018", ["valid: videos: 2 instead of 474", "instead of 26"]),
    ],
)
def test_what_differs_from_published_counts_is_told(drawn, tmp_path, capsys, name, folder, lines):
    root = tmp_path / folder
    root.mkdir()
    for path in (drawn / folder).iterdir():
        if path.name != DESCRIPTION_FILE:
            (root / path.name).symlink_to(path)
    assert prepare.main([name, "--root", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    for line in lines:
        assert line in printed


def test_a_broken_video_is_named(tmp_path, capsys):
    (tmp_path / "MOSE" / "valid" / "JPEGImages" / "clip").mkdir(parents=True)
    assert prepare.main(["mose", "--root", str(tmp_path)]) == 1
    assert "video clip has no folder of masks" in capsys.readouterr().out
    assert prepare.main(["lvos", "--root", str(tmp_path)]) == 1
    assert "lvos.github.io (by hand)" in capsys.readouterr().out
