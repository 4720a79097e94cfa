from pathlib import Path

import numpy as np

from common.coco_masks import mask_annotation
from data.few_shot_instances import FewShotInstances, TestedPicture
from evaluation.instance import item_name
from evaluation.instance_sheet import distinct, draw_objects, instance_sheet

PICTURE = TestedPicture(7, Path("nowhere.jpg"), (60, 80))
GREY = np.full((60, 80, 3), 100, np.uint8)


def thing(left: int, right: int, **more) -> dict:
    mask = np.zeros(PICTURE.size, dtype=bool)
    mask[10:50, left:right] = True
    return {"image_id": 7, "category_id": 1, **mask_annotation(mask), **more}


def test_each_object_has_a_colour_and_the_first_is_on_top():
    drawn = draw_objects(GREY, [thing(10, 40), thing(30, 70)], PICTURE)
    first, both, second, outside = (drawn[30, x].tolist() for x in (20, 35, 60, 75))
    assert first == both
    assert first != second
    assert outside == [100, 100, 100]


def test_what_was_found_before_is_shown_once():
    first, again, other = thing(10, 40), thing(20, 44), thing(38, 70)
    assert distinct([first, again, other], 3, PICTURE) == [first, other]
    assert distinct([first, again, other], 1, PICTURE) == [first]


def test_as_many_of_the_best_are_shown_as_there_are_true_objects(monkeypatch):
    monkeypatch.setattr(TestedPicture, "read", lambda self: GREY)
    truth = {"images": [], "categories": [], "annotations": [thing(10, 40)]}
    benchmark = FewShotInstances("coco_novel", Path(), truth, (PICTURE,), "drawings")
    best, worse = thing(10, 40, score=0.9), thing(50, 70, score=0.5)

    def sheet(*found: dict) -> np.ndarray:
        return instance_sheet(benchmark, {item_name(PICTURE): {"objects": found}}, 3, "title")

    assert np.array_equal(sheet(worse, best), sheet(best))
    assert not np.array_equal(sheet(best), sheet(worse))


def test_without_objects_there_is_no_sheet():
    truth = {"images": [], "categories": [], "annotations": [thing(0, 5, iscrowd=1)]}
    benchmark = FewShotInstances("coco_novel", Path(), truth, (PICTURE,), "drawings")
    assert instance_sheet(benchmark, {}, 3, "title") is None
