import json
import os

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.video_io import FrameReader
from labelling.label_folder import LabelFolder, LabelledFrame
from labelling.targets import Target

LABELS = np.array([[0, 3], [3, 0], [7, 0]], dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    return LabelFolder(tmp_path / "out", {3: "dog", 7: "cat", 9: "cow"})


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    Image.new("RGB", (2, 3)).save(path)
    return Target(path, "photos/a.png", "photos/a")


def test_a_record_says_what_was_found_and_how_likely_the_rest_is(folder, target):
    picture = np.zeros((3, 2, 3), dtype=np.uint8)
    folder.write(target, LABELS, {3: 0.9, 7: 0.8, 9: 0.12345}, picture)
    folder.join()
    coco = json.loads((folder.path / "coco.json").read_text())
    assert coco["images"] == [
        {
            "id": 1,
            "file_name": "photos/a.png",
            "height": 3,
            "width": 2,
            "presence": {"dog": 0.9, "cat": 0.8, "cow": 0.1235},
        }
    ]
    found = [(a["category_id"], a["area"], a["bbox"]) for a in coco["annotations"]]
    assert found == [(3, 2, [0, 0, 2, 2]), (7, 1, [0, 2, 1, 1])]


def test_what_is_done_has_every_file_that_is_asked_for(folder, target):
    assert not folder.is_done(target)
    folder.write(target, LABELS, dict.fromkeys(folder.classes, 1.0), np.zeros((3, 2, 3), np.uint8))
    assert folder.is_done(target)
    assert not LabelFolder(folder.path, folder.classes, labelme=True).is_done(target)


def test_settings_are_kept_apart(folder):
    folder.claim({"presence": 0.5})
    folder.claim({"presence": 0.5})
    with pytest.raises(UsageError, match=r"other settings \(presence\)"):
        folder.claim({"presence": 0.6})
    with pytest.raises(UsageError, match=r"other settings \(classes\)"):
        LabelFolder(folder.path, {1: "dog"}).claim({"presence": 0.5})
    (folder.path / "settings.json").write_text("[")
    with pytest.raises(UsageError, match="cannot be read"):
        folder.claim({"presence": 0.5})


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clips" / "walk.mp4"
    path.parent.mkdir()
    path.write_bytes(b"a video")
    return Target(path, "walk.mp4", "walk", is_video=True)


def labelled(number, labels=LABELS):
    scores = {3: 0.9, 7: 0.25, 9: 0.1 * number}
    picture = np.full((*labels.shape, 3), 100, np.uint8)
    return LabelledFrame(f"{number:05d}", f"walk/{number:05d}.png", labels, scores, picture)


def test_a_video_gets_masks_an_overlay_and_one_record(folder, video):
    large = np.kron(LABELS, np.ones((16, 16), np.uint8))
    folder.write_video(video, (labelled(number, large) for number in range(3)), 12)

    files = folder.files(video)
    masks = sorted(files["masks"].iterdir())
    assert [path.name for path in masks] == ["00000.png", "00001.png", "00002.png"]
    with Image.open(masks[2]) as mask:
        assert np.array_equal(mask, large)
    with FrameReader(files["overlays"]) as overlay:
        assert (overlay.frames_per_second, overlay.size) == (12, (48, 32))
        [first, _, _] = overlay
    assert first[8, 24, 0] > first[8, 8, 0]  # class 3 is brown
    record = json.loads(files["records"].read_text())
    assert [frame["image"]["presence"]["cow"] for frame in record["frames"]] == [0, 0.1, 0.2]

    folder.join()
    coco = json.loads((folder.path / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [
        f"walk/0000{number}.png" for number in range(3)
    ]
    assert [(a["image_id"], a["category_id"], a["score"]) for a in coco["annotations"]] == [
        (number, *found) for number in (1, 2, 3) for found in ((3, 0.9), (7, 0.25))
    ]


def test_a_video_is_done_once_all_of_it_is_written(folder, video):
    def interrupted():
        yield labelled(0)
        yield labelled(1)
        raise UsageError("the video is damaged")

    with pytest.raises(UsageError, match="damaged"):
        folder.write_video(video, interrupted())
    assert not folder.is_done(video)
    assert not any(folder.files(video)[kind].exists() for kind in ("overlays", "records"))

    folder.write_video(video, [labelled(0)])
    assert folder.is_done(video)
    assert [path.name for path in folder.files(video)["masks"].iterdir()] == ["00000.png"]
    assert len(list((folder.path / "overlays").iterdir())) == 1

    with pytest.raises(UsageError, match="damaged"):
        folder.write_video(video, interrupted())
    assert not folder.is_done(video)


def test_a_changed_video_is_not_done(folder, video):
    folder.write_video(video, [labelled(0)])
    os.utime(video.path, (9e9, 9e9))
    assert not folder.is_done(video)
    video.path.unlink()
    assert not folder.is_done(video)
