import json

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.label_folder import LabelFolder, Target, list_targets, preview

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


def test_results_are_no_targets(target):
    photos = target.path.parent
    inside = photos / "out" / "masks" / "a.png"
    inside.parent.mkdir(parents=True)
    Image.new("P", (2, 3)).save(inside)
    [found] = list_targets([f"{photos}/**/*.png"], photos / "out")
    assert (found.path, found.file_name, found.name) == (target.path, "a.png", "a")
    with pytest.raises(UsageError, match="no image found outside"):
        list_targets([str(inside)], photos / "out")


def test_a_preview_keeps_the_proportions():
    assert preview(np.zeros((100, 50, 3), np.uint8), (100, 50)).shape == (100, 50, 3)
    assert preview(np.zeros((100, 50, 3), np.uint8), (6400, 3200)).shape == (1600, 800, 3)
