import json

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluation.average_precision import AveragePrecision, average_precision, records_of
from model.instances import Instances

SIDE = 20


def thing(left: int, top: int, width: int, height: int, **more) -> dict:
    """A rectangle as an annotation, or with a score as what was found."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[top : top + height, left : left + width] = 1
    encoded = run_lengths.encode(np.asfortranarray(mask))
    return {
        "image_id": 1,
        "category_id": 5,
        "bbox": [left, top, width, height],
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
        **more,
    }


def truth_of(*objects: dict, pictures: int = 1, categories: tuple[int, ...] = (5,)) -> dict:
    return {
        "images": [{"id": n, "height": SIDE, "width": SIDE} for n in range(1, pictures + 1)],
        "categories": [{"id": n, "name": f"class {n}"} for n in categories],
        "annotations": [{"iscrowd": 0, "area": 8, "id": n, **one} for n, one in enumerate(objects)],
    }


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_a_case_worked_out_by_hand(kind):
    # of two objects one is found exactly, then something else, then 5 of the other's 8 columns:
    # up to an overlap of 0.6 precision is 1 for 51 of 101 recalls and 2/3 for the other 50;
    # from 0.65 on it is 1 for 51 and 0 for 50
    truth = truth_of(thing(0, 0, 8, 1), thing(0, 10, 8, 1))
    found = [
        thing(0, 0, 8, 1, score=0.9),
        thing(12, 12, 4, 4, score=0.8),
        thing(0, 10, 5, 1, score=0.7),
    ]
    low, high = 100 * (51 + 50 * 2 / 3) / 101, 100 * 51 / 101

    scores = average_precision(truth, found, kind)[5]

    assert scores.ap50 == pytest.approx(low)
    assert scores.ap75 == pytest.approx(high)
    assert scores.ap == pytest.approx((3 * low + 7 * high) / 10)


def test_boxes_and_masks_are_scored_apart():
    ring = thing(0, 0, 8, 8)
    mask = run_lengths.decode(ring["segmentation"])
    mask[1:7, 1:7] = 0
    encoded = run_lengths.encode(np.asfortranarray(mask))
    ring["segmentation"]["counts"] = encoded["counts"].decode()
    truth, found = truth_of(thing(0, 0, 8, 8)), [{**ring, "score": 0.5}]
    assert average_precision(truth, found, "box")[5].ap == pytest.approx(100)
    assert average_precision(truth, found, "mask")[5].ap == 0


def test_an_object_counts_once():
    truth = truth_of(thing(0, 0, 4, 4), thing(10, 10, 4, 4))
    twice = [thing(0, 0, 4, 4, score=0.9), thing(0, 0, 4, 4, score=0.8)]
    assert average_precision(truth, twice, "mask")[5].ap == pytest.approx(100 * 51 / 101)


def test_crowds_are_neither_found_nor_missed():
    truth = truth_of(thing(0, 0, 4, 4), thing(8, 8, 12, 12, iscrowd=1))
    found = [thing(9, 9, 4, 4, score=0.9), thing(0, 0, 4, 4, score=0.5)]
    assert average_precision(truth, found, "mask")[5].ap == pytest.approx(100)


def test_classes_without_objects_have_no_score_and_those_not_found_have_0():
    truth = truth_of(thing(0, 0, 4, 4), categories=(5, 9))
    assert average_precision(truth, [], "box") == {5: AveragePrecision(0.0, 0.0, 0.0)}


def test_the_best_hundred_of_a_picture_and_class_count():
    truth = truth_of(thing(0, 0, 4, 4))
    others = [thing(10, 10, 4, 4, score=0.9) for _ in range(100)]
    found = [*others, thing(0, 0, 4, 4, score=0.1)]
    assert average_precision(truth, found, "box")[5].ap == 0
    assert average_precision(truth, found[1:], "box")[5].ap > 0


def test_pictures_that_are_not_scored_are_refused():
    with pytest.raises(ValueError, match=r"not scored: \[2\]"):
        average_precision(truth_of(), [thing(0, 0, 4, 4, image_id=2, score=1.0)], "box")


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_numbers_are_those_of_pycocotools_own_call(tmp_path, kind):
    random = np.random.default_rng(4)
    objects, found = [], []
    for number in range(60):
        left, top, width, height = (int(value) for value in random.integers(1, 8, 4))
        where = {"image_id": 1 + number % 5, "category_id": (5, 9)[number % 2]}
        objects.append(thing(left, top, width, height, iscrowd=int(number < 4), **where))
        wider = width + int(random.integers(0, 3))
        found.append(thing(left, top, wider, height, score=float(random.random()), **where))
        found.append(thing(top, left, 5, height, score=float(random.random()), **where))
    truth = truth_of(*objects, pictures=5, categories=(5, 9))
    for number, one in enumerate(truth["annotations"], start=1):
        one["id"] = number
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    key = {"box": "segmentation", "mask": "bbox"}[kind]
    plain = [{name: value for name, value in one.items() if name != key} for one in found]

    reference = COCO(str(tmp_path / "truth.json"))
    call = COCOeval(reference, reference.loadRes(plain), {"box": "bbox", "mask": "segm"}[kind])
    call.evaluate()
    call.accumulate()
    call.summarize()
    ours = AveragePrecision.mean(average_precision(truth, found, kind).values())

    assert 5 < ours.ap < 95
    assert (ours.ap, ours.ap50, ours.ap75) == pytest.approx(tuple(100 * call.stats[:3]))


def test_objects_become_records():
    masks = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    masks[0, 2:5, 3:10] = True
    found = Instances.of_masks(masks, torch.tensor([0.25]), torch.tensor([1]))
    [record] = records_of(found, 7, (4, 5))
    assert record == {**thing(3, 2, 7, 3), "image_id": 7, "score": 0.25}
