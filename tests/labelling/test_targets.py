import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from labelling.targets import Target, find_paths, list_targets, preview, relative_names, short_names


@pytest.fixture
def found(tmp_path):
    """Make files, then find paths below the same folder."""

    def find(names, *sources, frames=False):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_bytes(b"")
        paths = find_paths([str(tmp_path / source) for source in sources], frames)
        return [path.relative_to(tmp_path).as_posix() for path in paths]

    return find


def test_photos_are_found_by_file_folder_and_pattern(found):
    names = ("b.png", "a.JPG", "notes.txt", ".hidden.png", "deep/c.webp", "odd[1].png")
    assert found(names, ".") == ["a.JPG", "b.png", "odd[1].png"]
    assert found(names, "b.png", ".") == ["b.png", "a.JPG", "odd[1].png"]
    assert found(names, "*/c*", "odd[1].png") == ["deep/c.webp", "odd[1].png"]
    assert found(names, "**/*.png") == ["b.png", "odd[1].png"]
    assert found(names, "notes.txt") == ["notes.txt"]
    with pytest.raises(UsageError, match=r"no image or video found: .*\*\.gif"):
        found(names, "*.gif")


def test_videos_are_found_among_photos(found):
    names = ("a.jpg", "b.MP4", "c.webm", ".hidden.mov", "clip/2.png", "clip/10.png", "empty/a.txt")
    assert found(names, ".") == ["a.jpg", "b.MP4", "c.webm"]
    assert found(names, "*") == ["a.jpg", "b.MP4", "c.webm"]
    assert found(names, "clip") == ["clip/10.png", "clip/2.png"]


def test_folders_of_frames_are_videos_where_that_is_said(found):
    names = ("clips/a/0.png", "clips/b/0.jpg", "clips/c.mp4", "clips/empty/a.txt")
    assert found(names, "clips", frames=True) == ["clips/a", "clips/b", "clips/c.mp4"]
    assert found(names, "clips/*", frames=True) == ["clips/a", "clips/b", "clips/c.mp4"]
    assert found(names, "clips/a", frames=True) == ["clips/a"]


def test_names_are_relative_to_the_common_folder(tmp_path, monkeypatch):
    assert relative_names([tmp_path / "a.jpg", tmp_path / "b" / "a.jpg"]) == ["a.jpg", "b/a.jpg"]
    assert relative_names([tmp_path / "x" / "a.jpg"]) == ["a.jpg"]
    monkeypatch.chdir(tmp_path)
    assert relative_names([Path("x/a.jpg"), tmp_path / "b.jpg"]) == ["x/a.jpg", "b.jpg"]


def test_short_names_stay_apart():
    assert short_names(["a.b.jpg", "b/a.jpg"]) == ["a.b", "b/a"]
    assert short_names(["a.jpg", "a.png", "b.png"]) == ["a.jpg", "a.png", "b.png"]
    assert short_names(["walk.v2", "b.MP4"]) == ["walk.v2", "b"]


def test_no_result_lies_among_the_frames_of_a_video():
    names = ["a.mp4", "a/00000.jpg", "b.jpg"]
    assert short_names(names) == ["a", "a/00000", "b"]
    assert short_names(names, videos=[True, False, False]) == names


def test_frames_are_named_by_number_or_by_their_files(tmp_path):
    file = Target(tmp_path / "b.mp4", "x/b.mp4", "x/b", is_video=True)
    assert list(itertools.islice(file.frame_names(), 2)) == [
        ("00000", "x/b/00000.png"),
        ("00001", "x/b/00001.png"),
    ]
    for name in ("10.jpg", "9.jpg", "10.png"):
        (tmp_path / name).write_bytes(b"")
    folder = Target(tmp_path, "clip.1", "clip.1", is_video=True)
    names = dict(folder.frame_names())
    assert names == {name: f"clip.1/{name}" for name in ("9.jpg", "10.jpg", "10.png")}
    (tmp_path / "10.png").unlink()
    assert list(folder.frame_names()) == [("9", "clip.1/9.jpg"), ("10", "clip.1/10.jpg")]


def test_a_folder_of_frames_is_as_new_as_its_newest_frame(tmp_path):
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / "0.png", (9e9, 9e9))
    assert Target(tmp_path, "clip", "clip", is_video=True).changed == 9e9


def test_results_are_no_targets(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (2, 3)).save(photos / "a.png")
    inside = photos / "out" / "masks" / "a.png"
    inside.parent.mkdir(parents=True)
    Image.new("P", (2, 3)).save(inside)
    [found] = list_targets([f"{photos}/**/*.png"], photos / "out")
    assert (found.path, found.file_name, found.name) == (photos / "a.png", "a.png", "a")
    with pytest.raises(UsageError, match="no image or video found outside"):
        list_targets([str(inside)], photos / "out")


def test_a_preview_keeps_the_proportions():
    assert preview(np.zeros((100, 50, 3), np.uint8), (100, 50)).shape == (100, 50, 3)
    assert preview(np.zeros((100, 50, 3), np.uint8), (6400, 3200)).shape == (1600, 800, 3)
