import json
import shutil

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.annotated.catalogue import open_source
from data.synthetic.ade20k_sets import ADE20K_CLASSES
from tools import prepare
from tools.preparation.ade20k_segments import make_segments, match_classes

NUMBERS = {c: n for n, c in enumerate(sorted((c for c, _ in ADE20K_CLASSES.values())), start=1)}
"""Class of ADE20K -> made-up number among the classes of objects."""


@pytest.fixture
def root(annotated, tmp_path):
    """The generated ADE20K with masks of objects in the place of segments."""
    folder = tmp_path / "ADEChallengeData2016"
    shutil.copytree(annotated / "ADEChallengeData2016", folder)
    for split, short in (("training", "train"), ("validation", "val")):
        content = json.loads((folder / f"ade20k_panoptic_{short}.json").read_text())
        (folder / "annotations_instance" / split).mkdir(parents=True)
        for one in content["annotations"]:
            file = folder / f"ade20k_panoptic_{short}" / one["file_name"]
            ids = np.asarray(Image.open(file)).astype(int) @ [1, 256, 65536]
            objects = np.zeros((*ids.shape, 3), dtype=np.uint8)
            for number, segment in enumerate(one["segments_info"], start=1):
                if segment["category_id"]:  # 0 is the wall
                    kind = NUMBERS[segment["category_id"] + 1]
                    objects[ids == segment["id"]] = kind, number, 0
            Image.fromarray(objects).save(folder / "annotations_instance" / split / file.name)
        (folder / f"ade20k_panoptic_{short}.json").unlink()
        shutil.rmtree(folder / f"ade20k_panoptic_{short}")
    return folder


def as_sets(annotation):
    """Classes and masks, in whatever order."""
    pairs = zip(annotation.class_ids.tolist(), annotation.masks, strict=True)
    return sorted((class_id, mask.tobytes()) for class_id, mask in pairs)


def test_segments_are_made_of_both_kinds_of_masks(root, annotated):
    make_segments(root, workers=0)
    made, wanted = (open_source("ade20k_panoptic", path) for path in (root.parent, annotated))
    assert made.names == wanted.names
    assert made.class_names[23] == "sofa, couch, lounge"
    for name in wanted.names:
        assert as_sets(made.read(name)[1]) == as_sets(wanted.read(name)[1])
    content = json.loads((root / "ade20k_panoptic_val.json").read_text())
    things = {c["id"] for c in content["categories"] if c["isthing"]}
    assert 0 not in things
    before = (root / "ade20k_panoptic_val.json").stat().st_mtime_ns
    make_segments(root, workers=0)
    assert (root / "ade20k_panoptic_val.json").stat().st_mtime_ns == before


def test_classes_are_matched_by_what_they_cover(root):
    found = match_classes(root, workers=0)
    shown = {c: n for c, n in NUMBERS.items() if found[n]}
    assert len(shown) > 10
    assert all(found[n] == c for c, n in shown.items())


def test_what_is_of_no_object_has_no_segment(root):
    file = sorted((root / "annotations_instance" / "training").iterdir())[0]
    objects = np.asarray(Image.open(file)).copy()
    first = np.unique(objects[..., 1])[1]
    gone = objects[..., 1] == first
    objects[gone] = 0
    Image.fromarray(objects).save(file)
    make_segments(root, workers=0)
    annotation = open_source("ade20k_panoptic", root.parent).read(f"{file.stem}.jpg")[1]
    assert not annotation.masks[:, gone].any()
    assert annotation.masks[:, ~gone].any(axis=0).all()


def test_masks_that_do_not_fit_are_refused(root, script, tmp_path):
    file = sorted((root / "annotations_instance" / "training").iterdir())[0]
    Image.new("RGB", (9, 9)).save(file)
    with pytest.raises(UsageError, match="does not fit"):
        make_segments(root, workers=0)
    shutil.rmtree(root / "annotations_instance")
    (root / "benchmark.json").unlink()
    outcome = script(prepare, "ade20k", "--root", root.parent, "--workers", "1")
    assert outcome.code == 1
    assert "cannot make what is missing: no such masks of objects" in outcome.output
    assert "annotations_instance.tar" in outcome.output
