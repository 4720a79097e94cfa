import json
from pathlib import Path

import pytest

from data.reader import DESCRIPTION_FILE
from data.synthetic.video_sets import (
    write_davis,
    write_icvos,
    write_lvos,
    write_mose,
    write_youtube_vos,
)
from data.videos import FRAMES, MASKS
from tests.file_server import FileServer, running_server
from tests.tools.preparation.test_archives import make_archive
from tools import prepare
from tools.preparation import icvos
from tools.preparation import videos as video_sets
from tools.preparation.inventory import Archive


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("Datasets")
    write_davis(root / "DAVIS", videos=1, frames=2, workers=0)
    for year in (2018, 2019):
        write_youtube_vos(root / f"YouTube-VOS-{year}", videos=2, frames=6, workers=0)
    write_lvos(root / "LVOS", videos=1, frames=2, workers=0)
    write_mose(root / "MOSE", videos=1, frames=2, workers=0)
    write_icvos(root / "IC-VOS", videos=1, frames=2, workers=0)
    return root


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("davis", "2016 val: 1 videos, 2 frames"),
        ("lvos", "val: 1 videos, 2 frames"),
        ("mose", "valid: 1 videos, 2 frames"),
        ("ytvos18", "valid: 2 videos, 4"),
        ("ytvos19", "valid: 2 videos, 4"),
        ("icvos", "this folder          1            2        2"),
    ],
)
def test_drawn_videos_are_counted_and_compared_with_nothing(drawn, capsys, name, line):
    assert prepare.main([name, "--root", str(drawn)]) == 0
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "folder", "lines"),
    [
        (
            *("davis", "DAVIS"),
            [
                "2017 val: videos: 1 instead of 30",
                "2016 val: frames: 2 instead of",
                "partial   DAVIS/ImageSets/2017/val.txt    1 of 30, from https://data.vision",
                "missing   DAVIS/ImageSets/2017/train.txt  0 of 60",
                "2017 train: not there",
            ],
        ),
        ("lvos", "LVOS", ["val: videos: 1 instead of 140", "1 of 140, by hand from"]),
        ("mose", "MOSE", ["valid: videos: 1 instead of 311", "by hand from https://henghuiding"]),
        (
            *("ytvos18", "YouTube-VOS-2018"),
            [
                "valid: videos: 2 instead of 474",
                "instead of 26",
                "there     YouTube-VOS-2018/valid/meta.json",
                "train: 2 videos",
                "train: videos: 2 instead of 3471",
            ],
        ),
        ("ytvos19", "YouTube-VOS-2019", ["valid: videos: 2 instead of 507"]),
        ("icvos", "IC-VOS", ["videos: 1 instead of 369"]),
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


def files_of(folder: Path) -> dict[str, bytes]:
    """Path below a folder -> content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_davis_is_fetched_and_unpacked(drawn, tmp_path, monkeypatch, capsys):
    files = {f"DAVIS/{name}": content for name, content in files_of(drawn / "DAVIS").items()}
    archive = make_archive(tmp_path / "davis.zip", files)
    with running_server() as server:
        server.files["/davis.zip"] = archive.read_bytes()
        public = Archive(f"{server.address}/davis.zip", {"DAVIS/": "DAVIS/"})
        monkeypatch.setattr(video_sets, "DAVIS_ARCHIVE", public)
        monkeypatch.setitem(video_sets.VIDEO_SETS, "davis", video_sets._davis())
        root = tmp_path / "Datasets"
        assert prepare.main(["davis", "--root", str(root), "--download"]) == 0
    assert files_of(root / "DAVIS") == files_of(drawn / "DAVIS")
    assert "2017 val: 1 videos, 2 frames" in capsys.readouterr().out


def offer_icvos(server: FileServer, files: dict[str, bytes]) -> None:
    """Let a server answer as the public place of IC-VOS does."""
    listed = [
        {"type": "file", "oid": "0" * 40, "size": len(content), "path": name}
        for name, content in files.items()
    ]
    tree = f"/api/datasets/{icvos.REPOSITORY}/tree/main?recursive=true&expand=false"
    server.files[tree] = json.dumps(
        [{"type": "directory", "path": "x", "oid": "1"}, *listed]
    ).encode()
    server.headers[tree] = {"Content-Type": "application/json"}
    for name, content in files.items():
        server.files[f"/datasets/{icvos.REPOSITORY}/resolve/main/{name}"] = content


@pytest.mark.parametrize("before", ["", "IC-VOS/", "some/where/"])
def test_icvos_is_fetched_from_its_public_place(drawn, tmp_path, capsys, before):
    members = {before + name: content for name, content in files_of(drawn / "IC-VOS").items()}
    archive = make_archive(tmp_path / "IC-VOS_val.zip", members)
    root = tmp_path / "Datasets"
    with running_server() as server:
        offer_icvos(server, {"val/IC-VOS_val.zip": archive.read_bytes(), "coco.zip": b"masks"})
        problems = icvos.prepare_icvos(root, True, server.address)
    assert problems == ["videos: 1 instead of 369", "frames: 2 instead of 99549", problems[2]]
    assert problems[2].endswith("instead of 30")
    found, expected = files_of(root / "IC-VOS"), files_of(drawn / "IC-VOS")
    assert found == {name: content for name, content in expected.items() if "/" in name}
    assert {name.split("/")[1] for name in found} == {FRAMES, MASKS}
    assert [path.name for path in (root / "downloads").iterdir()] == ["IC-VOS_val.zip"]


def test_what_is_no_icvos_is_told(tmp_path):
    with running_server() as server:
        offer_icvos(server, {"masks.zip": b"x"})
        [first, missing] = icvos.prepare_icvos(tmp_path, True, server.address)
        assert "no archive there is called IC-VOS; there are masks.zip" in first
        assert missing.startswith("missing: ")
        empty = make_archive(tmp_path / "ic_vos.zip", {"readme.txt": b""})
        offer_icvos(server, {"ic_vos.zip": empty.read_bytes()})
        [first, _] = icvos.prepare_icvos(tmp_path, True, server.address)
        assert "holds no <video>/JPEGImages/" in first
        server.files.clear()
        [first, _] = icvos.prepare_icvos(tmp_path, True, server.address)
        assert "cannot be listed" in first


def test_a_broken_video_is_named(tmp_path, capsys):
    (tmp_path / "MOSE" / "valid" / "JPEGImages" / "clip").mkdir(parents=True)
    assert prepare.main(["mose", "--root", str(tmp_path)]) == 1
    assert "video clip has no folder of masks" in capsys.readouterr().out
    assert prepare.main(["lvos", "--root", str(tmp_path)]) == 1
    assert "by hand from https://lingyihongfd.github.io" in capsys.readouterr().out
