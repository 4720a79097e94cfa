"""Contact sheets of objects, each in a colour of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.coco_masks import annotated_mask
from common.visualize import SheetRow, contact_sheet, label_overlay
from data.few_shot_instances import FewShotInstances, TestedPicture
from evaluation.instance import item_name
from evaluation.item_log import Record

HEADER = ("image", "ground truth", "found")


def instance_sheet(
    benchmark: FewShotInstances, records: Mapping[str, Record], rows: int, title: str
) -> np.ndarray | None:
    """Draw pictures with their true objects, and as many of those found: the best distinct ones.

    Args:
        records: what was found in every picture.
        rows: at most so many pictures, the first that show any object.

    Returns:
        The sheet, H x W x 3 uint8; None where no picture shows an object.
    """
    names = dict(zip(benchmark.categories, benchmark.class_names, strict=True))
    objects: dict[int, list[Mapping[str, Any]]] = {}
    for one in benchmark.truth["annotations"]:
        if not one.get("iscrowd"):
            objects.setdefault(one["image_id"], []).append(one)
    shown = [picture for picture in benchmark.pictures if picture.image_id in objects][:rows]
    lines = []
    for picture in shown:
        pixels, truth = picture.read(), objects[picture.image_id]
        found = records[item_name(picture)]["objects"]
        best = distinct(sorted(found, key=lambda one: -one["score"]), len(truth), picture)
        tiles = [pixels, *(draw_objects(pixels, some, picture) for some in (truth, best))]
        classes = sorted({names[one["category_id"]] for one in truth})
        count = "1 object" if len(truth) == 1 else f"{len(truth)} objects"
        lines.append(SheetRow(tiles, ", ".join(classes), count))
    return contact_sheet(HEADER, lines, title) if lines else None


def distinct(
    objects: Sequence[Mapping[str, Any]], count: int, picture: TestedPicture
) -> list[Mapping[str, Any]]:
    """The first so many objects of which less than half is covered by those before them."""
    covered, chosen = np.zeros(picture.size, dtype=bool), []
    for one in objects:
        mask = annotated_mask(one["segmentation"], picture.size)
        if len(chosen) < count and 2 * np.count_nonzero(mask & covered) < np.count_nonzero(mask):
            chosen.append(one)
            covered |= mask
    return chosen


def draw_objects(
    pixels: np.ndarray, objects: Sequence[Mapping[str, Any]], picture: TestedPicture
) -> np.ndarray:
    """A picture with objects, the first on top."""
    numbers = np.zeros(picture.size, dtype=np.int32)
    for number in range(len(objects), 0, -1):
        numbers[annotated_mask(objects[number - 1]["segmentation"], picture.size)] = number
    colours = {number: 1 + (number - 1) % 255 for number in range(1, len(objects) + 1)}
    return label_overlay(pixels, numbers, colours)
