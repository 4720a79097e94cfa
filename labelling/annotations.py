"""Masks as other tools read them: COCO annotations, polygons, and LabelMe files.

Coordinates are pixels from the upper left corner; the pixel in column x covers x to x + 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from common.coco_masks import annotated_mask, mask_annotation
from labelling.objects import Labels

SIMPLIFICATION = 0.5
"""How far a polygon may stray from the mask's outline, in pixels."""

HUGE = 10_000_000
"""Pixels above which a part's outline may lie half a pixel inside of its edge, to save memory."""

LABELME_VERSION = "5.5.0"
"""The LabelMe whose format is written."""


def coco_annotation(mask: np.ndarray, category_id: int, score: float) -> dict[str, Any]:
    """A mask, H x W bool and not empty, as a COCO annotation; without the ids of it and its image.

    The segmentation is a compressed run-length encoding, area and box are those of the mask.
    """
    return {"category_id": category_id, **mask_annotation(mask), "score": round(score, 4)}


def picture_entry(
    image: Mapping[str, Any],
    labels: Labels,
    classes: Mapping[int, str],
    calibrated: bool,
    numbered: bool,
) -> dict[str, Any]:
    """The part of a COCO file of a picture or frame: "image" and "annotations", without ids.

    Args:
        image: "file_name", and whatever else is to be said of it.
        classes: class id -> name.
        calibrated: whether scores are probabilities.
        numbered: whether annotations say the numbers of objects.
    """
    by_name = {classes[c]: round(score, 4) for c, score in labels.scores.items()}
    height, width = labels.classes.shape
    scores = {"presence" if calibrated else "score": by_name}
    annotations = [
        {
            **coco_annotation(one.mask, one.class_id, one.score),
            **({"instance": one.number} if numbered else {}),
        }
        for one in labels.objects
    ]
    return {
        "image": {**image, "height": height, "width": width, **scores},
        "annotations": annotations,
    }


def coco_file(
    records: Iterable[Mapping[str, Any]], classes: Mapping[int, str], first_id: int = 1
) -> dict[str, Any]:
    """Number images and their annotations, and join them.

    Args:
        records: "image", an entry of COCO without id, and "annotations", from `coco_annotation`.
        classes: class id -> name.
        first_id: the number of the first image, and of the first annotation.
    """
    images, annotations = [], []
    for image_id, record in enumerate(records, start=first_id):
        images.append({"id": image_id, **record["image"]})
        annotations += [{"image_id": image_id, **one} for one in record["annotations"]]
    return {
        "images": images,
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations, start=first_id)],
        "categories": [{"id": c, "name": name} for c, name in sorted(classes.items())],
    }


def with_polygons(coco: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a COCO file with polygons in the place of run lengths."""
    annotations = []
    for annotation in coco["annotations"]:
        coded = annotation["segmentation"]
        mask = annotated_mask(coded, tuple(coded["size"]))
        flat = [polygon.flatten().tolist() for polygon in polygons(mask)]
        annotations.append({**annotation, "segmentation": flat})
    return {**coco, "annotations": annotations}


def polygons(mask: np.ndarray, simplification: float = SIMPLIFICATION) -> list[np.ndarray]:
    """The outer outlines of a mask's parts; holes are lost.

    Args:
        mask: H x W bool.
        simplification: how far the outline may be off, in pixels.

    Returns:
        For each part its corners x, y: an array N x 2, N at least 3.
    """
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = mask[top : top + height, left : left + width].astype(np.uint8)
    # contours run through the centres of pixels: of doubled ones a quarter of a pixel from the edge
    scale = 2 if part.size < HUGE else 1
    part = part.repeat(scale, axis=0).repeat(scale, axis=1)
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour in contours:
        simple = cv2.approxPolyDP(contour, scale * simplification, closed=True)
        corners = simple if len(simple) > 2 else contour
        outlines.append((corners[:, 0] + 0.5) / scale + (left, top))
    return outlines


def labelme_file(
    masks: Sequence[tuple[str, np.ndarray, int | None]], image_path: str, size: tuple[int, int]
) -> dict[str, Any]:
    """The content of a LabelMe file.

    Args:
        masks: label, H x W bool, and a number that the parts of one object share, if they do.
        image_path: the picture's place, relative to the file's folder.
        size: height and width.
    """
    shapes = [
        {
            "label": label,
            "points": outline.tolist(),
            "group_id": number,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for label, mask, number in masks
        for outline in polygons(mask)
    ]
    return {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
