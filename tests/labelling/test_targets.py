from pathlib import Path

import pytest
from PIL import Image

from common.errors import UsageError
from labelling.targets import Target, find_paths, list_targets, name_targets, tell_left_out


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


def names(*paths, recorded=()):
    known = [Target(Path(path), name, name.startswith("video")) for path, name in recorded]
    return [target.name for target in name_targets(list(map(Path, paths)), known)]


def test_names_are_relative_to_the_common_folder_and_without_suffix():
    assert names("/x/a.b.jpg", "/x/b/a.jpg") == ["a.b", "b/a"]
    assert names("/x/a.jpg") == ["a"]
    assert names("/x/walk.v2", "/x/b.MP4") == ["walk.v2", "b"]


def test_targets_that_differ_in_their_suffix_only_keep_it():
    assert names("/x/a.jpg", "/x/a.png", "/x/b.png") == ["a.jpg", "a.png", "b"]
    assert names("/x/a.jpg", "/x/a.png", recorded=[("/x/a.jpg", "a")]) == ["a", "a.png"]


def test_a_name_that_was_given_stays_and_no_other_target_gets_it():
    recorded = [("/x/A/1.jpg", "1")]
    assert names("/x/A/1.jpg", "/x/A/2.jpg", recorded=recorded) == ["1", "2"]
    assert names("/x/B/1.jpg", recorded=recorded) == ["B/1"]
    assert names("/y/A/1.jpg", recorded=[*recorded, ("/x/C/1.jpg", "A/1")]) == ["y/A/1"]


def test_no_result_lies_among_the_frames_of_a_video(tmp_path):
    (tmp_path / "a").mkdir()
    paths = [tmp_path / name for name in ("a/0.jpg", "a.mp4", "b.jpg")]
    for path in paths:
        path.write_bytes(b"")
    here = tmp_path.name
    found = [(target.name, target.is_video) for target in name_targets(paths)]
    assert found == [("a/0", False), (f"{here}/a", True), ("b", False)]
    found = [target.name for target in name_targets([paths[1], paths[0]])]
    assert found == ["a", f"{here}/a/0"]


def test_a_target_is_known_by_its_place_however_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (2, 3)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    found = list_targets(["photos", str(tmp_path / "photos")], tmp_path / "out", True)
    assert [target.path for target in found] == [tmp_path / "photos"]
    [found] = list_targets(["link/a.png", "photos/../photos/a.png"], tmp_path / "out")
    assert found == Target(tmp_path / "photos" / "a.png", "a")


def test_results_are_no_targets(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (2, 3)).save(photos / "a.png")
    inside = photos / "out" / "masks" / "a.png"
    inside.parent.mkdir(parents=True)
    Image.new("P", (2, 3)).save(inside)
    [found] = list_targets([f"{photos}/**/*.png"], photos / "out")
    assert (found.path, found.name) == (photos / "a.png", "a")
    with pytest.raises(UsageError, match="no image or video found outside"):
        list_targets([str(inside)], photos / "out")


def test_what_is_left_out_is_counted_and_named(tmp_path):
    names = ["a.png", "b.txt", "c.pdf", ".hidden.png", "deep/d.png", "deep/e.txt", "out/f.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    folder, out = str(tmp_path), tmp_path / "out"
    assert tell_left_out([folder], out) == [
        "left out, neither picture nor video (2): b.txt, c.pdf",
        "left out, hidden (1): .hidden.png",
        'left out, folders ("FOLDER/**/*" goes into them) (1): deep',
    ]
    assert tell_left_out([f"{folder}/**/*"], out) == [
        "left out, neither picture nor video (3): b.txt, c.pdf, e.txt"
    ]
    assert tell_left_out([f"{folder}/a.png", f"{folder}/b.txt", f"{folder}/*.png"], out) == []
    assert tell_left_out([folder], out, frames=True) == []  # the folder is one video


def test_of_many_things_that_are_left_out_some_are_named(tmp_path):
    for number in range(23):
        (tmp_path / f"{number:02d}.txt").write_bytes(b"")
    [line] = tell_left_out([str(tmp_path)], tmp_path / "out")
    assert line.startswith("left out, neither picture nor video (23): 00.txt, 01.txt")
    assert line.endswith("19.txt and 3 more")


def test_an_animated_picture_is_told(tmp_path):
    first, second = (Image.new("L", (4, 4), shade) for shade in (0, 255))
    first.save(tmp_path / "still.gif")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    [line] = tell_left_out([str(tmp_path)], tmp_path / "out")
    assert line == "of animated pictures only the first frame is labelled (1): moving.gif"
