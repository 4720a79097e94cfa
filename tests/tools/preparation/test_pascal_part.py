"""PASCAL-Part: made of .mat files by our own merging of parts, and read."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from common.coco_masks import annotated_mask
from common.errors import UsageError
from data.benchmarks import Split
from data.parts import PASCAL_GROUPS, PascalPart
from tools import prepare
from tools.preparation.pascal_part import merged_part

SIZE = (20, 30)


def box(top, left, bottom, right):
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


CAT = {
    "class": "cat",
    "mask": box(2, 4, 12, 14),
    "parts": [
        {"part_name": "head", "mask": box(2, 4, 6, 8)},
        {"part_name": "lfleg", "mask": box(8, 4, 12, 6)},
        {"part_name": "rbleg", "mask": box(8, 10, 12, 14)},
    ],
}
PLANE = {
    "class": "aeroplane",
    "mask": box(0, 15, 10, 30),
    "parts": [
        {"part_name": "tail", "mask": box(0, 15, 3, 18)},
        {"part_name": "wheel_1", "mask": box(8, 16, 10, 18)},
        {"part_name": "wheel_2", "mask": box(8, 26, 10, 30)},
    ],
}
CHAIR = {"class": "chair", "mask": box(12, 15, 20, 20), "parts": []}
PICTURES = {
    "2008_000001": ("train", [CAT, PLANE]),
    "2008_000002": ("val", [CAT, PLANE, CHAIR]),
    "2008_000003": ("val", [PLANE]),
    "2008_000004": ("val", [CHAIR]),
}


@pytest.fixture
def root(tmp_path):
    """PASCAL-Part's .mat files with VOC2010 beside them; there are a bottle and a person, too."""
    pictures = dict(PICTURES)
    for number, (kind, part) in enumerate((("bottle", "cap"), ("person", "hair"))):
        one = {"class": kind, "mask": box(0, 0, 9, 9)}
        one["parts"] = [{"part_name": part, "mask": box(0, 0, 3, 9)}]
        for split in ("train", "val"):
            pictures[f"2009_{number}_{split}"] = (split, [one])
    (tmp_path / "PASCAL-Part" / "Annotations_Part").mkdir(parents=True)
    (tmp_path / "VOC2010" / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "VOC2010" / "JPEGImages").mkdir()
    for name, (_, objects) in pictures.items():
        content = {"anno": {"imname": name, "objects": objects}}
        savemat(tmp_path / "PASCAL-Part" / "Annotations_Part" / f"{name}.mat", content)
        pixels = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "VOC2010" / "JPEGImages" / f"{name}.jpg")
    for split in ("train", "val"):
        names = "".join(f"{name}\n" for name, (own, _) in pictures.items() if own == split)
        (tmp_path / "VOC2010" / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
    return tmp_path


def prepared(root) -> int:
    """The exit code; one process is quicker than to start others."""
    return prepare.main(["pascal_part", "--root", str(root), "--workers", "1"])


@pytest.mark.parametrize(
    ("name", "merged"),
    [
        *(("lfuleg", "leg"), ("engine_3", "engine"), ("rear", "ear"), ("Head", "head")),
        *(("fliplate", "license plate"), ("cfrontside_2", "front"), ("hroofside", "roof")),
    ],
)
def test_sides_and_numbers_of_parts_are_merged(name, merged):
    assert merged_part(name) == merged


def test_parts_are_made_and_read(root, capsys):
    assert prepared(root) == 1
    said = capsys.readouterr().out
    assert "fold 1 images: 1 instead of 959" in said
    assert "fold 3 parts: 1" in said
    folder = root / "PASCAL-Part"
    names = {g: json.loads((folder / f"{g}_val.json").read_text()) for g in PASCAL_GROUPS}
    kinds = {g: {c["name"] for c in content["categories"]} for g, content in names.items()}
    assert kinds["animals"] == {"cat", "cat:head", "cat:leg"}
    assert kinds["vehicles"] == {"aeroplane", "aeroplane:tail", "aeroplane:wheel"}
    wheels = [
        one["segmentation"]
        for one in names["vehicles"]["annotations"]
        if one["image_id"] == names["vehicles"]["images"][0]["id"] and one["area"] == 12
    ]
    both = PLANE["parts"][1]["mask"] | PLANE["parts"][2]["mask"]
    assert np.array_equal(annotated_mask(wheels[0], SIZE), both)

    animals = Split(PascalPart(folder, fold=0), images="test", classes="test")
    assert sorted(animals.class_names.values()) == ["head of cat", "leg of cat"]
    assert set(animals.class_lists) == {"2008_000002.jpg"}
    [leg] = [c for c, name in animals.class_names.items() if name == "leg of cat"]
    image, mask = animals.read_class("2008_000002.jpg", leg)
    assert image.shape == (10, 10, 3)  # the cat's box
    legs = CAT["parts"][1]["mask"] | CAT["parts"][2]["mask"]
    assert np.array_equal(mask, legs[2:12, 4:14])
    vehicles = Split(PascalPart(folder, fold=3), images="test", classes="test")
    assert list(vehicles.class_names.values()) == ["wheel of aeroplane"]  # no tail


def test_parts_that_no_training_picture_shows_are_left_out(root):
    (root / "VOC2010" / "ImageSets" / "Main" / "train.txt").write_text(
        "2009_0_train\n2009_1_train\n2008_000003\n"
    )
    assert prepared(root) == 1
    reader = PascalPart(root / "PASCAL-Part", fold=0)
    assert reader.classes_of("test") == ()
    with pytest.raises(UsageError, match="no picture shows a part of fold 0"):
        reader.class_lists("test", "test")


def test_what_is_missing_is_told(root, capsys):
    broken = root / "PASCAL-Part" / "Annotations_Part" / "2008_000002.mat"
    broken.write_bytes(broken.read_bytes()[:200])
    assert prepared(root) == 1
    assert f"cannot read {broken} as parts" in capsys.readouterr().out
    (root / "VOC2010" / "ImageSets" / "Main" / "val.txt").unlink()
    assert prepared(root) == 1
    assert "missing image list" in capsys.readouterr().out
    assert prepared(root / "VOC2010") == 1
    assert "roozbehm.info" in capsys.readouterr().out
