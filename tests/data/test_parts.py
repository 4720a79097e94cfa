import json
import shutil

import numpy as np
import pytest

import eval_image
from common.coco_masks import annotated_mask
from common.errors import UsageError
from data.benchmarks import Split
from data.parts import ANNOTATIONS, PacoPart
from data.synthetic.paco import write_paco
from tools import prepare

CLASSES = 4


@pytest.fixture(scope="module")
def paco(tmp_path_factory):
    """A folder that holds a generated PACO: eight parts, two in a fold."""
    root = tmp_path_factory.mktemp("data")
    write_paco(root / "PACO", CLASSES, 24, workers=0)
    return root


def split_of(root, fold=0, **options) -> Split:
    return Split(PacoPart(root / "PACO", fold=fold, **options), images="test", classes="test")


def test_every_fourth_part_is_in_a_fold_and_objects_are_in_none(paco):
    folds = [split_of(paco, fold).classes for fold in range(4)]
    assert sorted(c for fold in folds for c in fold) == list(range(CLASSES + 1, 3 * CLASSES + 1))
    assert folds[1] == (CLASSES + 2, CLASSES + 6)
    names = {name for fold in range(4) for name in split_of(paco, fold).class_names.values()}
    assert {name.partition(" of ")[0] for name in names} == {"core", "rim"}


def test_a_picture_is_cropped_to_an_object_and_shows_that_objects_parts_only(paco):
    content = json.loads((paco / "PACO" / ANNOTATIONS.format("val")).read_text())
    annotations = content["annotations"]
    boxes = {one["id"]: one["bbox"] for one in annotations}
    numbers = {one["file_name"]: one["id"] for one in content["images"]}
    split = split_of(paco, 0)
    several = 0
    for name, classes in split.class_lists.items():
        for class_id in classes:
            image, mask = split.read_class(name, class_id)
            parts = [
                one
                for one in annotations
                if (one["image_id"], one["category_id"]) == (numbers[name], class_id)
            ]
            several += len(parts) > 1
            crops = []
            for one in parts:
                x, y, w, h = (int(value) for value in boxes[one["obj_ann_id"]])
                whole = annotated_mask(one["segmentation"], (128, 128))
                crops.append(whole[y : y + h, x : x + w])
            assert image.shape == (*mask.shape, 3)
            assert any(np.array_equal(mask, crop) for crop in crops)
            assert np.array_equal(mask, split.read_class(name, class_id)[1])
    assert several > 0


def test_it_is_evaluated_under_its_protocols(paco, script, tmp_path):
    method = ("--method", "sansa", "--sam_model", "tiny", "--adapters", "fresh")
    flags = (*method, "--image_size", 64, "--datapath", paco, "--device", "cpu", "--nworker", 0)
    flags = (*flags, "--sheet_rows", 1, "--test_episodes", 4, "--fold", 2)
    for protocol in ("paco_part", "paco_part_legacy"):
        outcome = script(
            eval_image, *flags, "--protocol", protocol, "--output", tmp_path / protocol
        )
        assert outcome.code == 0, outcome.error
        results = json.loads((tmp_path / protocol / "results.json").read_text())
        assert results["protocol"] == protocol
        assert results["protocol_changes"] == ["episodes 4"]


def test_training_annotations_are_checked_where_they_are_there(paco, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(paco, root)
    picture = next((root / "PACO" / "train2017").glob("*.jpg"))
    picture.unlink()
    assert prepare.main(["paco_part", "--root", str(root)]) == 1
    assert f"1 train pictures are missing: train2017/{picture.name}" in capsys.readouterr().out
    (root / "PACO" / ANNOTATIONS.format("train")).write_text("[]")
    assert prepare.main(["paco_part", "--root", str(root)]) == 1
    assert "is no instances file in COCO's format" in capsys.readouterr().out
    (root / "PACO" / ANNOTATIONS.format("train")).unlink()
    assert prepare.main(["paco_part", "--root", str(root)]) == 0
    assert "PACO is tested on, not trained on" in capsys.readouterr().out


def test_what_is_wrong_is_told(paco, capsys):
    assert prepare.main(["paco_part", "--root", str(paco)]) == 0
    (paco / "PACO" / "benchmark.json").unlink()  # now it passes for the real one
    assert prepare.main(["paco_part", "--root", str(paco)]) == 1
    assert "parts of each fold: 2 instead of 112" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no fold 4 of paco_part"):
        split_of(paco, 4)
    (paco / "PACO" / ANNOTATIONS.format("val")).write_text("{}")
    with pytest.raises(UsageError, match="is no file of parts"):
        split_of(paco)
