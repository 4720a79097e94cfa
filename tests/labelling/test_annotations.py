import json

import numpy as np
import pytest
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO

from labelling.annotations import coco_annotation, coco_file, labelme_file, polygons, with_polygons


def blob(seed=0, size=(60, 90)):
    """A ragged disk and a single pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    angle = np.arctan2(rows - 30, columns - 40)
    wave = np.random.default_rng(seed).uniform(0, 6)
    mask = np.hypot(rows - 30, columns - 40) < 18 + 5 * np.sin(5 * angle + wave)
    mask[2, 80] = True
    return mask


def test_an_annotation_holds_the_mask_its_area_and_its_box():
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:6] = True
    mask[2, 2] = False
    found = coco_annotation(mask, 4, 0.123456)
    assert found["area"] == 7
    assert found["bbox"] == [2, 1, 4, 2]
    assert (found["category_id"], found["score"], found["iscrowd"]) == (4, 0.1235, 0)
    assert np.array_equal(run_lengths.decode(found["segmentation"]), mask)


def make_file():
    image = {"file_name": "a.jpg", "height": 60, "width": 90}
    full = {"image": image, "annotations": [coco_annotation(blob(n), n, 0.5) for n in (1, 2)]}
    empty = {"image": {**image, "file_name": "b.jpg"}, "annotations": []}
    return coco_file([empty, full], {2: "cat", 1: "dog"})


@pytest.mark.parametrize("change", [dict, with_polygons], ids=["run lengths", "polygons"])
def test_pycocotools_reads_the_file(tmp_path, change):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(change(make_file())))
    coco = COCO(path)
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["dog", "cat"]
    assert coco.getAnnIds(imgIds=[1]) == []
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[2])):
        mask, truth = coco.annToMask(annotation), blob(annotation["category_id"])
        overlap = (mask & truth).sum() / (mask | truth).sum()
        assert overlap > (0.98 if change is with_polygons else 0.9999)


def test_a_rectangle_has_four_corners_just_inside_its_edges():
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:5, 3:8] = True
    [outline] = polygons(mask)
    assert sorted(map(tuple, outline.tolist())) == [
        (3.25, 2.25),
        (3.25, 4.75),
        (7.75, 2.25),
        (7.75, 4.75),
    ]


def test_a_single_pixel_has_an_outline_and_an_empty_mask_none():
    mask = np.zeros((9, 9), dtype=bool)
    assert polygons(mask) == []
    mask[4, 5] = True
    [outline] = polygons(mask)
    assert len(outline) >= 3
    assert (np.floor(outline) == (5, 4)).all()


def test_labelme_gets_a_polygon_for_each_part():
    found = labelme_file([("dog", blob(), 3)], "../a.jpg", (60, 90))
    assert [shape["label"] for shape in found["shapes"]] == ["dog", "dog"]
    assert [shape["group_id"] for shape in found["shapes"]] == [3, 3]
    assert found["imagePath"] == "../a.jpg"
    assert (found["imageHeight"], found["imageWidth"]) == (60, 90)
    assert json.dumps(found)
