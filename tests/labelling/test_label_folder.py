import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.video_io import FrameReader
from labelling.label_folder import LabelFolder, VideoResults, preview, write_numbers
from labelling.objects import Labels
from labelling.targets import Target

LABELS = np.array([[0, 3], [3, 0], [7, 0]], dtype=np.uint8)
FRAME = np.full((3, 2, 3), 100, np.uint8)


@pytest.fixture
def folder(tmp_path):
    return LabelFolder(tmp_path / "out", {3: "dog", 7: "cat", 9: "cow"}, calibrated=True)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    Image.new("RGB", (2, 3)).save(path)
    return Target(path, "a")


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clips" / "walk.mp4"
    path.parent.mkdir()
    path.write_bytes(b"a video")
    return Target(path, "walk", is_video=True)


def write(folder, target):
    scores = {3: 0.9, 7: 0.8, 9: 0.12345}
    folder.write(target, folder.begin(target), Labels(LABELS, scores), np.zeros_like(FRAME))


def write_frames(folder, video, count, labels=LABELS, rate=None):
    with VideoResults(folder, video, rate) as results:
        for number in range(count):
            picture = np.full((*labels.shape, 3), 100, np.uint8)
            results.add(Labels(labels, {3: 0.9, 7: 0.25, 9: 0.1 * number}), picture)


def coco_of(folder):
    folder.join()
    return json.loads((folder.path / "coco.json").read_text())


def test_the_coco_file_says_what_was_found_and_how_likely_the_rest_is(folder, target):
    write(folder, target)
    coco = coco_of(folder)
    assert coco["info"] == {
        "image_folder": str(target.path.parent),
        "presence_calibrated": True,
    }
    assert coco["images"] == [
        {
            "id": 1,
            "file_name": "a.png",
            "mask": "masks/a.png",
            "height": 3,
            "width": 2,
            "presence": {"dog": 0.9, "cat": 0.8, "cow": 0.1235},
        }
    ]
    found = [(a["category_id"], a["area"], a["bbox"]) for a in coco["annotations"]]
    assert found == [(3, 2, [0, 0, 2, 2]), (7, 1, [0, 2, 1, 1])]


def test_objects_are_numbered_in_a_file_of_their_own(folder, target):
    folder = replace(folder, instances=True)
    numbers = np.array([[0, 1], [2, 0], [3, 0]], dtype=np.int32)
    labels = Labels(LABELS, {3: 0.9, 7: 0.8}, numbers, (3, 3, 7), (0.7, 0.6, 0.8))
    folder.write(target, folder.begin(target), labels, np.zeros_like(FRAME))
    with Image.open(folder.path / "instances" / "a.png") as stored:
        assert stored.mode == "P"
        assert np.array_equal(np.array(stored), numbers)
    found = [(a["instance"], a["category_id"], a["score"]) for a in coco_of(folder)["annotations"]]
    assert found == [(1, 3, 0.7), (2, 3, 0.6), (3, 7, 0.8)]


def test_more_objects_than_a_palette_has_are_numbered_in_16_bits(tmp_path):
    numbers = np.arange(300, dtype=np.int32).reshape(15, 20)
    write_numbers(tmp_path / "many.png", numbers)
    with Image.open(tmp_path / "many.png") as stored:
        assert np.array_equal(np.array(stored), numbers)


def test_what_is_done_has_every_file_that_is_asked_for(folder, target):
    assert not folder.is_done(target)
    write(folder, target)
    assert folder.is_done(target)
    assert not replace(folder, formats=frozenset({"labelme"})).is_done(target)
    folder.begin(target)
    assert not folder.is_done(target)


def test_results_of_one_file_are_not_those_of_another(folder, target, tmp_path):
    write(folder, target)
    other = tmp_path / "a.png"
    other.write_bytes(target.path.read_bytes())
    assert not folder.is_done(Target(other, target.name))


@pytest.mark.parametrize("change", ["gone", "changed", "unreadable record"])
def test_records_of_what_is_gone_or_changed_go(folder, target, video, change):
    write(folder, target)
    write_frames(folder, video, 1)
    assert len(coco_of(folder)["images"]) == 2
    if change == "gone":
        target.path.unlink()
    elif change == "changed":
        Image.new("RGB", (9, 9)).save(target.path)
    else:
        (folder.path / "records" / "a.json").write_text("[]")
    assert [image["file_name"] for image in coco_of(folder)["images"]] == ["walk.mp4"]
    assert not (folder.path / "records" / "a.json").exists()


def test_names_in_the_coco_file_are_below_the_folder_that_all_have_in_common(folder, target, video):
    write(folder, target)
    write_frames(folder, video, 2)
    coco = coco_of(folder)
    names = [(image["file_name"], image.get("frame")) for image in coco["images"]]
    assert names == [("clips/walk.mp4", 0), ("clips/walk.mp4", 1), ("photos/a.png", None)]
    root = folder.path.parent
    assert coco["info"]["image_folder"] == str(root)
    assert all((root / name).exists() for name, _ in names)


def test_settings_are_kept_apart(folder):
    folder.claim({"presence": 0.5})
    folder.claim({"presence": 0.5})
    with pytest.raises(UsageError, match=r"other settings \(presence\)"):
        folder.claim({"presence": 0.6})
    with pytest.raises(UsageError, match=r"other settings \(classes\)"):
        replace(folder, classes={1: "dog"}).claim({"presence": 0.5})
    (folder.path / "settings.json").write_text("[")
    with pytest.raises(UsageError, match="cannot be read"):
        folder.claim({"presence": 0.5})


def test_a_video_gets_masks_an_overlay_and_one_record(folder, video):
    large = np.kron(LABELS, np.ones((16, 16), np.uint8))
    write_frames(folder, video, 3, large, rate=12)

    files = folder.files(video)
    masks = sorted(files["masks"].iterdir())
    assert [path.name for path in masks] == ["00000.png", "00001.png", "00002.png"]
    with Image.open(masks[2]) as mask:
        assert np.array_equal(mask, large)
    with FrameReader(files["overlays"]) as overlay:
        assert (overlay.frames_per_second, overlay.size) == (12, (48, 32))
        [first, _, _] = overlay
    assert first[8, 24, 0] > first[8, 8, 0]  # class 3 is brown
    coco = coco_of(folder)
    # SAM 2's own score is no calibrated probability, whatever the checkpoint's is
    assert [image["score"]["cow"] for image in coco["images"]] == [0, 0.1, 0.2]
    assert not any("presence" in image for image in coco["images"])
    assert [image["mask"] for image in coco["images"]] == [
        f"masks/walk/0000{number}.png" for number in range(3)
    ]
    assert [(a["image_id"], a["category_id"], a["score"]) for a in coco["annotations"]] == [
        (number, *found) for number in (1, 2, 3) for found in ((3, 0.9), (7, 0.25))
    ]


@pytest.mark.parametrize(
    ("frames", "masks"),
    [
        (("9.jpg", "10.jpg"), ["9.png", "10.png"]),
        (("9.jpg", "9.png", "10.jpg"), ["9.jpg.png", "9.png.png", "10.jpg.png"]),
    ],
)
def test_the_masks_of_a_folder_are_called_as_its_frames(folder, tmp_path, frames, masks):
    clip = Target(tmp_path / "clip", "clip", is_video=True)
    clip.path.mkdir()
    for name in frames:
        (clip.path / name).write_bytes(b"")
    write_frames(folder, clip, len(frames))
    images = coco_of(folder)["images"]
    assert [image["file_name"] for image in images] == [f"clip/{name}" for name in frames]
    assert [image["mask"] for image in images] == [f"masks/clip/{name}" for name in masks]
    assert sorted(path.name for path in (folder.path / "masks/clip").iterdir()) == sorted(masks)


def test_a_video_is_done_once_all_of_it_is_written(folder, video):
    def interrupt():
        with VideoResults(folder, video) as results:
            for _ in range(2):
                results.add(Labels(LABELS, dict.fromkeys(folder.classes, 1.0)), FRAME)
            raise UsageError("the video is damaged")

    with pytest.raises(UsageError, match="damaged"):
        interrupt()
    assert not folder.is_done(video)
    assert not folder.files(video)["overlays"].exists()

    write_frames(folder, video, 1)
    assert folder.is_done(video)
    assert [path.name for path in folder.files(video)["masks"].iterdir()] == ["00000.png"]
    assert len(list((folder.path / "overlays").iterdir())) == 1

    with pytest.raises(UsageError, match="damaged"):
        interrupt()
    assert not folder.is_done(video)


def test_two_processes_on_one_video_leave_each_others_masks(folder, video):
    write_frames(folder, video, 3)  # of a longer video that was there before
    labels = Labels(LABELS, dict.fromkeys(folder.classes, 1.0))
    with VideoResults(folder, video) as first:
        first.add(labels, FRAME)
        waiting = folder.files(video)["masks"] / ".00001.000000-1-00000000.png"
        waiting.write_bytes(b"half")  # of the first process, when the second begins
        with VideoResults(folder, video) as second:
            for _ in range(2):
                second.add(labels, FRAME)
        assert waiting.exists()
        waiting.unlink()
        first.add(labels, FRAME)
    assert folder.is_done(video)
    masks = sorted(path.name for path in folder.files(video)["masks"].iterdir())
    assert masks == ["00000.png", "00001.png"]


def test_a_record_that_cannot_be_read_is_named_and_its_target_not_done(folder, video, capsys):
    write_frames(folder, video, 1)
    place = folder.path / "records" / "walk.json"
    place.write_text(place.read_text()[:-20])
    assert not folder.is_done(video)
    said = capsys.readouterr().err
    assert said == f"warning: {place} cannot be read: {video.path} is labelled again\n"


def test_a_changed_video_is_not_done(folder, video):
    write_frames(folder, video, 1)
    os.utime(video.path, (9e9, 9e9))
    assert folder.is_done(video)
    video.path.write_bytes(b"another")
    assert not folder.is_done(video)
    video.path.unlink()
    assert not folder.is_done(video)


def test_a_preview_keeps_the_proportions():
    assert preview(np.zeros((100, 50, 3), np.uint8), (100, 50)).shape == (100, 50, 3)
    assert preview(np.zeros((100, 50, 3), np.uint8), (6400, 3200)).shape == (1600, 800, 3)
