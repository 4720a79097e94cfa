"""Panoptic sources: a picture of segment ids in colours, and a JSON file that says what they are.

COCO 2017:  COCO2017/annotations/panoptic_train2017.json, panoptic_train2017/*.png beside it,
            pictures in COCO2017/train2017/
ADE20K:     ADEChallengeData2016/ade20k_panoptic_train.json, ade20k_panoptic_train/*.png beside it,
            pictures in ADEChallengeData2016/images/training/
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import shown
from common.coco_masks import listed_size
from common.errors import UsageError
from common.files import BROKEN, parse_json
from common.images import open_image
from data.annotated.array_store import Parsed, stored_arrays
from data.annotated.object_index import IndexedImages, ObjectIndex, object_arrays
from data.annotated.source import Annotation


def open_panoptic(file: Path) -> ObjectIndex:
    """Read a panoptic file, or the arrays that were made of it.

    Raises:
        UsageError: there is no such file, or it is not in COCO's format.
    """
    arrays, categories = stored_arrays(file, _parse)
    return ObjectIndex(categories=categories, **arrays)


class Panoptic(IndexedImages):
    """Pictures of a panoptic file; the other arguments are those of `IndexedImages`.

    Args:
        segments: the folder of segment ids.

    Raises:
        UsageError: a file or folder is missing or in another format, or nothing is left.
    """

    kind = "panoptic"

    def __init__(
        self,
        name: str,
        root: Path,
        annotations: Path,
        segments: Path,
        images: Path,
        without: Collection[int] = (),
        without_files: Collection[str] = (),
    ) -> None:
        if not segments.is_dir():
            raise UsageError(f"no such folder of segments: {segments}")
        self.segments = segments
        super().__init__(name, root, open_panoptic(annotations), images, without, without_files)

    def read(self, name: str) -> tuple[np.ndarray, Annotation]:
        pixels, own = self.pixels(name), self.index.objects(self.picture(name))
        file = self.segments / f"{Path(name).stem}.png"
        numbers = _segment_ids(file)
        if numbers.shape != pixels.shape[:2]:
            raise UsageError(
                f"sizes differ (height, width): {file} {numbers.shape}, its picture "
                f"{pixels.shape[:2]}"
            )
        ids = np.array(self.index.object_ids[own])
        masks = numbers == ids[:, None, None]
        if empty := ids[~masks.any(axis=(1, 2))].tolist():
            raise UsageError(f"{file} does not show the segments {empty[:5]} that are listed")
        categories, crowd = self.index.category_ids[own], self.index.crowd[own]
        return pixels, Annotation(masks, np.array(categories), ids, np.array(crowd))


def _segment_ids(file: Path) -> np.ndarray:
    """H x W int64 of a PNG whose colours are numbers of base 256, red first."""
    with open_image(file, "segments") as stored:
        if stored.mode != "RGB":
            raise UsageError(f"segments {file}: a picture of {stored.mode} values, not of RGB")
        return np.asarray(stored).astype(np.int64) @ np.array([1, 256, 256**2])


def _parse(parts: Sequence[Path]) -> Parsed:
    (part,) = parts
    try:
        content = parse_json(part.read_bytes())
        categories = {int(c["id"]): str(c["name"]) for c in content["categories"]}
        images = {image["id"]: image for image in content["images"]}
        listed = {one["image_id"]: one["segments_info"] for one in content["annotations"]}
        objects = [
            (place, int(one["id"]), int(one["category_id"]), bool(one.get("iscrowd", 0)))
            for place, image_id in enumerate(images)
            for one in listed.get(image_id, ())
        ]
        files = [_file(image) for image in images.values()]
        sizes = [listed_size(image) for image in images.values()]
    except OSError as error:
        raise UsageError(f"cannot read the annotations {part}: {error.strerror}") from None
    except BROKEN as error:
        raise UsageError(f"{part} is no panoptic file in COCO's format: {shown(error)}") from None
    if unknown := {category for _, _, category, _ in objects} - categories.keys():
        raise UsageError(f"{part}: segments of categories that are not listed: {unknown}")
    return object_arrays(files, sizes, objects), categories


def _file(image: Mapping[str, Any]) -> str:
    """The picture's file; the files of ADE20K are sometimes listed as those of its segments."""
    return f"{Path(str(image['file_name'])).stem}.jpg"
