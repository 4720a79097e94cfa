"""Make ADE20K's segments (panoptic) of its class masks and of its masks of objects.

annotations_instance/{training,validation}/<name>.png: red is one of 100 classes of objects, green
the number of the object. Which of the 150 classes each of the 100 is, the pictures say themselves:
the one that it covers most often. Objects lie above the rest; what is of a class of objects and of
no object stays without a segment.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.files import write_atomically
from common.images import open_image, read_mask
from data.annotated.ade20k import CLASSES, NAMES_FILE, read_class_names
from data.parallel import parallel_map

OBJECTS = "annotations_instance"
KINDS_OF_OBJECTS = 100
SPLITS = {"training": "train", "validation": "val"}
_PARALLEL_FROM = 500


def make_segments(root: Path, workers: int | None = None) -> None:
    """Write ade20k_panoptic_{train,val}.json and the folders beside them, where they are missing.

    Args:
        root: the folder ADEChallengeData2016.

    Raises:
        UsageError: a file is missing or broken, or the two kinds of masks do not fit together.
    """
    missing = [split for split, short in SPLITS.items() if not segments_file(root, short).is_file()]
    if not missing:
        return
    names = read_class_names(root / NAMES_FILE)
    class_of = match_classes(root, workers)
    categories = [
        {"id": c - 1, "name": ", ".join(names[c]), "isthing": int(c in class_of)} for c in names
    ]
    for split in missing:
        pictures = _pictures(root, split)
        folder = segments_file(root, SPLITS[split]).with_suffix("")
        folder.mkdir(exist_ok=True)
        write = partial(_write, root=root, split=split, folder=folder, class_of=class_of)
        found = _each(write, pictures, f"making segments ({split})", workers)
        content = {
            "images": [image for image, _ in found],
            "annotations": [annotation for _, annotation in found],
            "categories": categories,
        }
        text = json.dumps(content)
        file = segments_file(root, SPLITS[split])
        write_atomically(file, lambda path, text=text: path.write_text(text))


def segments_file(root: Path, short: str) -> Path:
    return root / f"ade20k_panoptic_{short}.json"


def match_classes(root: Path, workers: int | None = None) -> np.ndarray:
    """Which of the 150 classes each class of objects is: by number, 0 where none is shown.

    Raises:
        UsageError: two classes of objects are the same one.
    """
    count = partial(_overlaps, root=root)
    overlaps = sum(_each(count, _pictures(root, "training"), "matching classes", workers))
    class_of = np.where(overlaps.any(axis=1), overlaps.argmax(axis=1), 0)
    shown = class_of[class_of > 0]
    if len(set(shown.tolist())) != len(shown):
        raise UsageError(f"{root}: classes of objects and of {OBJECTS} do not fit together")
    return class_of


def _each(function: Any, pictures: Sequence[str], title: str, workers: int | None) -> list[Any]:
    few = len(pictures) < _PARALLEL_FROM
    return parallel_map(function, pictures, workers=0 if few else workers, description=title)


def _pictures(root: Path, split: str) -> list[str]:
    names = sorted(path.stem for path in (root / "annotations" / split).glob("[!.]*.png"))
    if not names:
        raise UsageError(f"no masks in {root / 'annotations' / split}")
    return names


def _masks(root: Path, split: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class ids, classes of objects and numbers of objects, H x W each."""
    labels = read_mask(root / "annotations" / split / f"{name}.png")
    file = root / OBJECTS / split / f"{name}.png"
    with open_image(file, "masks of objects") as stored:
        objects = np.asarray(stored.convert("RGB"))
    if objects.shape[:2] != labels.shape or objects[..., 0].max(initial=0) > KINDS_OF_OBJECTS:
        raise UsageError(f"{file} does not fit to the class mask of its name")
    return labels, objects[..., 0].astype(np.int64), objects[..., 1].astype(np.int64)


def _overlaps(name: str, root: Path) -> np.ndarray:
    """101 x 151: pixels of each class of objects in each class; 0 counts for nothing."""
    labels, kinds, _ = _masks(root, "training", name)
    pairs = kinds * (CLASSES + 1) + labels
    counts = np.bincount(pairs.ravel(), minlength=(KINDS_OF_OBJECTS + 1) * (CLASSES + 1))
    counts = counts.reshape(KINDS_OF_OBJECTS + 1, CLASSES + 1)
    counts[0], counts[:, 0] = 0, 0
    return counts


def _write(
    name: str, root: Path, split: str, folder: Path, class_of: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the segments of a picture; return what the JSON file says of it."""
    labels, kinds, numbers = _masks(root, split, name)
    ids = np.zeros(labels.shape, dtype=np.int64)
    segments: list[dict[str, Any]] = []

    def add(class_id: int, mask: np.ndarray) -> None:
        segments.append({"id": len(segments) + 1, "category_id": class_id - 1, "iscrowd": 0})
        ids[mask] = len(segments)

    for class_id in np.setdiff1d(labels, [0, *class_of]).tolist():
        add(class_id, labels == class_id)
    of_known = class_of[kinds] > 0
    for pair in np.unique((kinds * 256 + numbers)[of_known]).tolist():
        mask = of_known & (kinds == pair // 256) & (numbers == pair % 256)
        add(int(class_of[pair // 256]), mask)
    areas = np.bincount(ids.ravel(), minlength=len(segments) + 1)
    seen = [{**one, "area": int(areas[one["id"]])} for one in segments if areas[one["id"]]]
    colours = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=2).astype(np.uint8)
    write_atomically(folder / f"{name}.png", Image.fromarray(colours).save)
    height, width = labels.shape
    image = {"id": name, "file_name": f"{name}.jpg", "height": height, "width": width}
    return image, {"image_id": name, "file_name": f"{name}.png", "segments_info": seen}
