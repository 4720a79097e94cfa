"""COCO's average precision of boxes and masks, by pycocotools.

An object that was found is a JSON record: image_id, category_id, score, bbox (left, top, width and
height in pixels) and segmentation (COCO's compressed run lengths).
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from common.coco_masks import run_length
from model.instances import MOST, Instances

KINDS = {"box": "bbox", "mask": "segm"}
"""What overlaps are measured on -> pycocotools' word for it."""

FoundObject = dict[str, Any]


@dataclass(frozen=True)
class AveragePrecision:
    """Means of precision over 101 recalls, in percent."""

    ap: float
    """The mean over the overlaps 0.50, 0.55, ..., 0.95."""
    ap50: float
    ap75: float

    @classmethod
    def mean(cls, some: Iterable["AveragePrecision"]) -> "AveragePrecision":
        """Of several classes, at least one."""
        rows = [(one.ap, one.ap50, one.ap75) for one in some]
        return cls(*(mean(column) for column in zip(*rows, strict=True)))


def records_of(found: Instances, image_id: int, categories: Sequence[int]) -> list[FoundObject]:
    """What was found in a picture, as records.

    Args:
        categories: the category of each concept that was asked for.
    """
    masks = found.masks.cpu().numpy()
    records = []
    for mask, score, concept, box in zip(
        masks,
        found.scores.tolist(),
        found.concepts.tolist(),
        found.boxes.tolist(),
        strict=True,
    ):
        left, top, right, bottom = box
        records.append(
            {
                "image_id": image_id,
                "category_id": categories[concept],
                "score": score,
                "bbox": [left, top, right - left, bottom - top],
                "segmentation": run_length(mask),
            }
        )
    return records


def average_precision(
    truth: Mapping[str, Any], found: Sequence[FoundObject], kind: str
) -> dict[int, AveragePrecision]:
    """Score what was found in all pictures; of a picture and category the best hundred count.

    Crowds are neither found nor missed, as in COCO.

    Args:
        truth: the content of a COCO file: pictures, objects and the categories that are scored.
        found: for these pictures, in any order; of equal scores in a picture the earlier is tried
            first.
        kind: one of `KINDS`.

    Returns:
        Category id -> its scores, of the categories that have objects other than crowds.

    Raises:
        ValueError: something was found in a picture that is not one of these.
    """
    known = {image["id"] for image in truth["images"]}
    if strangers := {one["image_id"] for one in found} - known:
        raise ValueError(f"objects of pictures that are not scored: {sorted(strangers)[:3]}")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its steps
        scores = COCOeval(
            _indexed(truth, truth["annotations"]), _indexed(truth, found), KINDS[kind]
        )
        scores.params.areaRng, scores.params.areaRngLbl = [[0, 1e10]], ["all"]
        scores.params.maxDets = [MOST]
        scores.evaluate()
        scores.accumulate()
    precision = 100 * scores.eval["precision"][..., 0, 0]  # overlaps x recalls x categories
    overlaps = np.round(scores.params.iouThrs, 2).tolist()
    return {
        category: AveragePrecision(
            float(one.mean()),
            float(one[overlaps.index(0.5)].mean()),
            float(one[overlaps.index(0.75)].mean()),
        )
        for category, one in zip(scores.params.catIds, np.moveaxis(precision, 2, 0), strict=True)
        if (one > -1).all()  # -100: pycocotools found nothing to find
    }


def _indexed(truth: Mapping[str, Any], annotations: Iterable[Mapping[str, Any]]) -> COCO:
    """Annotations of the pictures and categories of a COCO file, which it leaves as they are."""
    numbered = []
    for number, one in enumerate(annotations, start=1):  # an id of 0 would count as no match
        area = one.get("area", one["bbox"][2] * one["bbox"][3])
        numbered.append({"iscrowd": 0, **one, "id": number, "area": area})
    coco = COCO()
    coco.dataset = {
        "images": list(truth["images"]),
        "categories": list(truth["categories"]),
        "annotations": numbered,
    }
    coco.createIndex()
    return coco
