"""The files that a visitor takes home: masks and COCO, of pictures and of videos."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.video_io import write_indexed_mask
from labelling.annotations import coco_annotation, coco_file
from page.canvas import resized
from page.found import Results
from page.items import Thresholds
from page.session import Session, different_name


def write_masks(session: Session, thresholds: Thresholds) -> Path:
    """Write a zip of one indexed PNG for each picture or frame, at its own size, and for each
    reference.

    Raises:
        UsageError: there is no result.
    """
    results = found_results(session)
    path, file = session.new_path("masks.zip"), session.new_path("mask.png")
    with zipfile.ZipFile(path, "w") as archive:
        for name, labels in _named_masks(session, results, thresholds):
            write_indexed_mask(file, labels)
            archive.write(file, f"{name}.png")
    file.unlink()
    return path


def write_coco(session: Session, thresholds: Thresholds) -> Path:
    """Write all masks as one COCO file, as `predict.py` does.

    Raises:
        UsageError: there is no result.
    """
    path, results = session.new_path("coco.json"), found_results(session)
    names, records = results.names, []
    for one in results.labelled():
        labels = one.labels(thresholds)
        by_name = dict(zip(names, (round(score, 4) for score in one.scores), strict=True))
        score = {"presence" if results.calibrated else "score": by_name}
        height, width = one.size
        annotations = [
            coco_annotation(item.mask, item.class_id, item.score) for item in labels.objects
        ]
        image = {**one.image, "height": height, "width": width, **score}
        records.append({"image": image, "annotations": annotations})
    info = {"presence_calibrated": results.calibrated}
    classes = dict(enumerate(names, start=1))
    path.write_text(json.dumps({"info": info, **coco_file(records, classes)}))
    return path


def found_results(session: Session) -> Results:
    """The results of the last run.

    Raises:
        UsageError: there are none.
    """
    if session.results is None:
        raise UsageError("there is no result yet: press Find it first")
    return session.results


def _named_masks(
    session: Session, results: Results, thresholds: Thresholds
) -> Iterator[tuple[str, np.ndarray]]:
    for one in results.labelled():
        yield one.mask_name, one.labels(thresholds).classes
    references: dict[Path, np.ndarray] = {}
    for number, shots in enumerate(results.references.values(), start=1):
        for photo, mark in shots:
            size = session.limits.check_picture(photo)
            labels = references.setdefault(photo, np.zeros(size, dtype=np.uint8))
            labels[resized(mark.pixels, size)] = number
    names: set[str] = set()
    for photo, labels in references.items():
        name = different_name(photo.name, names)
        names.add(name)
        yield f"references/{Path(name).stem}", labels
