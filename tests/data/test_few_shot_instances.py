import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from common.coco_masks import annotated_mask
from common.errors import UsageError
from data.few_shot_instances import NOVEL, FewShotInstances, read_coco_file, split_file
from data.voc_objects import voc_objects


@pytest.fixture
def copied(few_shot, tmp_path):
    """The generated data's small files, which a test may change, without pictures."""
    for inner in ("cocosplit", "COCO2014/annotations"):
        shutil.copytree(few_shot / inner, tmp_path / inner)
    (tmp_path / "VOC2012").mkdir()
    shutil.copy(few_shot / "VOC2012" / "val_converted.json", tmp_path / "VOC2012")
    return tmp_path


def test_the_classes_are_those_that_coco_and_voc_share_in_the_order_of_coco():
    categories = [1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72]
    assert [one.category for one in NOVEL] == categories
    voc = """person bicycle car motorbike aeroplane bus train boat bird cat dog horse sheep cow
        bottle chair sofa pottedplant diningtable tvmonitor"""
    assert [one.voc_name for one in NOVEL] == voc.split()
    assert [one.voc_category for one in NOVEL] == list(range(1, 21))


@pytest.mark.parametrize("benchmark", ["coco_novel", "coco2voc"])
def test_only_objects_of_the_classes_are_to_be_found(few_shot, benchmark):
    found = FewShotInstances.open(benchmark, few_shot)
    wanted = {one["category_id"] for one in found.truth["annotations"]}
    assert wanted <= set(found.categories)
    assert found.domain == "drawings"
    pixels = found.pictures[0].read()
    assert pixels.shape == (*found.pictures[0].size, 3)


def test_a_draw_shows_k_objects_of_each_class_and_stays_the_same(few_shot):
    benchmark = FewShotInstances.open("coco_novel", few_shot)
    for shots in (1, 3):
        shown = benchmark.shown(shots, 0)
        assert [len(objects) for objects in shown] == [shots] * 20
        assert shown == benchmark.shown(shots, 0)
    assert shown != benchmark.shown(3, 1)
    annotations = read_coco_file(few_shot / "COCO2014/annotations/instances_train2014.json")
    of_object = {one["id"]: one for one in annotations["annotations"]}
    for novel, objects in zip(NOVEL, shown, strict=True):
        assert {of_object[one.object_id]["category_id"] for one in objects} == {novel.category}
    pixels, mask = shown[3][2].read()
    assert mask.shape == pixels.shape[:2]
    assert mask.sum() == of_object[shown[3][2].object_id]["area"]


def test_of_more_objects_than_wanted_some_are_drawn_by_the_seed(copied):
    splits = copied / "cocosplit"
    kept = []
    for seed in (0, 1):
        for novel in NOVEL:  # one-shot files with three objects
            shutil.copy(
                split_file(splits, novel.name, 3, 0), split_file(splits, novel.name, 1, seed)
            )
        shown = FewShotInstances.open("coco_novel", copied).shown(1, seed)
        assert [len(objects) for objects in shown] == [1] * 20
        kept.append([objects[0].object_id for objects in shown])
    assert kept[0] != kept[1]


def test_the_first_draw_may_lie_beside_the_others(copied):
    splits = copied / "cocosplit"
    expected = FewShotInstances.open("coco_novel", copied).shown(3, 0)
    for file in (splits / "seed0").iterdir():
        file.rename(splits / file.name)
    (splits / "seed0").rmdir()
    assert FewShotInstances.open("coco_novel", copied).shown(3, 0) == expected


def test_test_images_and_annotations_decide_the_fingerprint(few_shot, copied):
    whole = FewShotInstances.open("coco_novel", few_shot)
    assert FewShotInstances.open("coco_novel", copied).fingerprint() == whole.fingerprint()
    part = FewShotInstances.open("coco_novel", few_shot, test_images=3)
    assert [one.image_id for one in part.pictures] == [1, 2, 3]
    assert {one["image_id"] for one in part.truth["annotations"]} <= {1, 2, 3}
    assert part.fingerprint() != whole.fingerprint()


def test_categories_in_another_order_are_refused(copied):
    file = copied / "VOC2012" / "val_converted.json"
    content = json.loads(file.read_text())
    names = [one["name"] for one in content["categories"]]
    for one, name in zip(content["categories"], sorted(names), strict=True):
        one["name"] = name
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="category 1 is aeroplane, not person"):
        FewShotInstances.open("coco2voc", copied)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("missing", "missing: .*full_box_3shot_cat_trainval.json"),
        ("broken", "full_box_3shot_cat_trainval.json is no file in COCO's format"),
        ("other", "full_box_3shot_cat_trainval.json is no file in COCO's format"),
        ("few", "shows 1 objects of cat, not 3"),
    ],
)
def test_a_draw_that_cannot_be_used_is_named(copied, damage, told):
    file = split_file(copied / "cocosplit", "cat", 3, 0)
    content = json.loads(file.read_text())
    del content["annotations"][1:]
    if damage == "missing":
        file.unlink()
    else:
        texts = {"broken": file.read_text()[:99], "other": "[1]", "few": json.dumps(content)}
        file.write_text(texts[damage])
    with pytest.raises(UsageError, match=told):
        FewShotInstances.open("coco_novel", copied).shown(3, 0)


def test_pictures_and_masks_that_cannot_be_used_are_named(few_shot, copied):
    [*_, objects] = FewShotInstances.open("coco_novel", copied).shown(1, 0)
    with pytest.raises(UsageError, match="no such image"):
        objects[0].read()
    [*_, objects] = FewShotInstances.open("coco_novel", few_shot).shown(1, 0)
    with pytest.raises(UsageError, match=r"object \d+ of .*jpg: no segmentation"):
        replace(objects[0], segmentation=[[1, 2]]).read()
    with pytest.raises(UsageError, match="empty mask"):
        replace(objects[0], segmentation={"size": [128, 128], "counts": [128 * 128]}).read()
    with pytest.raises(UsageError, match="sizes differ"):
        replace(objects[0].picture, size=(128, 127)).read()


def test_objects_of_voc_have_the_class_under_them(make_voc):
    classes = np.zeros((6, 8), dtype=np.uint8)
    classes[:, :3], classes[:, 4:] = 15, 3  # a person, two birds
    classes[:, 3] = 255
    root = make_voc({"a": classes, "b": np.zeros((2, 2))})
    objects = np.where(classes == 255, 255, 0)
    objects[:, :3], objects[:3, 4:], objects[4:, 4:] = 1, 2, 3
    (root / "SegmentationObject").mkdir()
    for name, mask in (("a", objects), ("b", np.zeros((2, 2)))):
        place = root / "SegmentationObject" / f"{name}.png"
        Image.fromarray(mask.astype(np.uint8)).save(place)

    found = voc_objects(root, workers=0)

    assert [image["file_name"] for image in found["images"]] == ["a.jpg", "b.jpg"]
    rows = [(one["image_id"], one["category_id"], one["bbox"]) for one in found["annotations"]]
    assert rows == [
        (1, 1, [0.0, 0.0, 3.0, 6.0]),
        (1, 9, [4.0, 0.0, 4.0, 3.0]),
        (1, 9, [4.0, 4.0, 4.0, 2.0]),
    ]
    mask = annotated_mask(found["annotations"][1]["segmentation"], (6, 8))
    assert np.array_equal(mask, objects == 2)


def test_an_object_of_no_class_is_named(make_voc):
    root = make_voc({"a": np.zeros((2, 2))})
    (root / "SegmentationObject").mkdir()
    Image.fromarray(np.ones((2, 2), np.uint8)).save(root / "SegmentationObject" / "a.png")
    with pytest.raises(UsageError, match=r"a\.png: object 1 is of no class"):
        voc_objects(root, workers=0)
