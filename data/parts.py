"""Benchmarks of parts of objects, looked for in pictures that are cropped to one object.

    PACO/annotations/paco_lvis_v1_val.json (or in PACO itself); its pictures are those of COCO 2017,
        in COCO2017/{train2017,val2017}/ beside PACO
    PASCAL-Part/{animals,indoor,person,vehicles}_{train,val}.json, made by tools.prepare; its
        pictures are those of VOC 2010, in VOC2010/JPEGImages/ or VOC2012/JPEGImages/ beside it

The files are in COCO's format: categories such as "bottle:cap" are parts, and each part names its
object by `obj_ann_id`.
"""

import zlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.cli import shown
from common.coco_masks import annotated_mask
from common.errors import UsageError
from common.files import BROKEN, parse_json
from common.images import read_image
from data.class_index import ImageFiles
from data.classes import Role, every_nth, in_words
from data.lvis import pictures_of_coco2017
from data.reader import Reader

ANNOTATIONS = "paco_lvis_v1_{}.json"
"""PACO's file of "train" or "val"."""
PASCAL_GROUPS = ("animals", "indoor", "person", "vehicles")
"""The groups of objects that the folds of PASCAL-Part test."""
LEFT_OUT = "aeroplane:tail"
"""The part that published programs leave out."""
_OF = ":"
"""Stands between object and part in the names of categories."""


@dataclass(frozen=True)
class _Object:
    """One object with a class of part."""

    box: tuple[int, int, int, int]
    """Left, top, right and bottom of the crop, within the picture."""
    parts: tuple[Any, ...]
    """The segmentations of the parts of that class."""


@dataclass
class PartReader(Reader):
    """Reads such a folder: what is tested of it.

    A picture is cropped to the box of one of the objects that have the part: always the same one
    for a picture and a class, so that neither workers nor the order of episodes change anything.
    """

    @property
    @abstractmethod
    def file(self) -> Path:
        """The annotations of the tested pictures."""

    @property
    @abstractmethod
    def pictures(self) -> Path:
        """The folder that the names of images start from, or UsageError."""

    def known_classes(self) -> dict[int, str]:
        return {c: in_words(name) for c, name in self._content["categories"].items()}

    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        if images != "test" or role != "test":
            raise UsageError(f"{self.benchmark} is tested on here, not trained on")
        classes = set(self.classes_of(role))
        found: dict[str, list[int]] = {}
        for name, class_id in self._objects:
            if class_id in classes:
                found.setdefault(name, []).append(class_id)
        if not found:
            raise UsageError(f"{self.root}: no picture shows a part of fold {self.fold}")
        return {name: tuple(sorted(found[name])) for name in sorted(found)}

    def files_of(self, name: str) -> ImageFiles:
        return ImageFiles(image=self.pictures / name, mask=self.file)

    def read_class(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Reader`; both are cropped to the object."""
        image = read_image(self.pictures / name, upright=False)
        objects = self._objects.get((name, class_id), [])
        if not objects:
            raise UsageError(f"{name} has no part {class_id} ({self.class_names.get(class_id)})")
        chosen = objects[zlib.crc32(f"{name} {class_id}".encode()) % len(objects)]
        mask = np.zeros(image.shape[:2], dtype=bool)
        try:
            for part in chosen.parts:
                mask |= annotated_mask(part, image.shape[:2])
        except ValueError as error:
            raise UsageError(f"{self.file}, picture {name}: {error}") from None
        left, top, right, bottom = chosen.box
        inside = np.s_[top:bottom, left:right]
        return image[inside], mask[inside].astype(np.uint8)

    @cached_property
    def counts(self) -> dict[int, int]:
        """Class of part -> number of pictures that show it, by ascending class."""
        found: dict[int, int] = {}
        for _, class_id in sorted(self._objects, key=lambda key: key[1]):
            found[class_id] = found.get(class_id, 0) + 1
        return found

    @cached_property
    def _content(self) -> dict[str, Any]:
        """Names of the parts by id, pictures by id, and annotations.

        Raises:
            UsageError: the file cannot be read or is in another format.
        """
        return read_parts(self.file)

    @cached_property
    def _objects(self) -> Mapping[tuple[str, int], list[_Object]]:
        """(Picture, class of part) -> the objects that have such parts, in the file's order."""
        images, annotations = self._content["images"], self._content["annotations"]
        try:
            boxes = {int(one["id"]): one["bbox"] for one in annotations}
            parts: dict[tuple[str, int], dict[int, list[Any]]] = {}
            crops: dict[int, tuple[int, int, int, int]] = {}
            for one in annotations:
                class_id, owner = int(one["category_id"]), int(one.get("obj_ann_id", one["id"]))
                if class_id not in self._content["categories"]:
                    continue
                image = images[int(one["image_id"])]
                crops[owner] = _crop(boxes[owner], image)
                if _overlap(one["bbox"], crops[owner]):
                    key = (_picture_name(image), class_id)
                    parts.setdefault(key, {}).setdefault(owner, []).append(one["segmentation"])
        except BROKEN as error:
            raise UsageError(f"{self.file} is no file of parts: {shown(error)}") from None
        return {
            key: [_Object(crops[owner], tuple(found)) for owner, found in owners.items()]
            for key, owners in parts.items()
        }


@dataclass
class PacoPart(PartReader):
    """PACO-Part: parts of everyday objects; every fourth is in a fold."""

    name = "paco_part"
    folder = "PACO"
    sampler = "class"

    fold_shots: int = 1
    """The parts in more than so many pictures make the folds; those left over are in none."""

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        file = paco_file(root, "val")
        return "" if file.is_file() else f"is not in the layout of PACO: it lacks {file.name}"

    @property
    def file(self) -> Path:
        return paco_file(self.root, "val")

    @cached_property
    def pictures(self) -> Path:
        return pictures_of_coco2017(self.root, self.remedy())

    def classes_of(self, role: Role) -> tuple[int, ...]:
        if role != "test":
            return ()
        enough = [c for c, count in self.counts.items() if count > self.fold_shots]
        return every_nth(enough, self.benchmark, self.fold)


class PascalPart(PartReader):
    """PASCAL-Part: parts of VOC's objects, a group of objects in each fold."""

    name = "pascal_part"
    folder = "PASCAL-Part"
    sampler = "turns"

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        missing = [f.name for f in pascal_part_files(root) if not f.is_file()]
        return f"is not in the layout of PASCAL-Part: it lacks {missing[0]}" if missing else ""

    @property
    def file(self) -> Path:
        return self.root / f"{PASCAL_GROUPS[self.fold]}_val.json"

    @cached_property
    def pictures(self) -> Path:
        for folder in (self.root, *(self.root.parent / voc for voc in ("VOC2010", "VOC2012"))):
            if (folder / "JPEGImages").is_dir():
                return folder / "JPEGImages"
        raise UsageError(f"no pictures of {self.root}: VOC2010 is not beside it. {self.remedy()}")

    def classes_of(self, role: Role) -> tuple[int, ...]:
        """See `Reader`: the parts that both training and validation pictures show."""
        if role != "test":
            return ()
        content = read_parts(self.root / f"{PASCAL_GROUPS[self.fold]}_train.json")
        trained = {int(one["category_id"]) for one in content["annotations"]}
        names = self._content["categories"]
        return tuple(c for c in self.counts if c in trained and names[c] != LEFT_OUT)


def paco_file(root: Path, split: str) -> Path:
    """Where PACO's annotations of "train" or "val" lie, or would."""
    inner = root / "annotations" / ANNOTATIONS.format(split)
    return inner if inner.is_file() else root / ANNOTATIONS.format(split)


def pascal_part_files(root: Path) -> list[Path]:
    """The files of PASCAL-Part, of training and of validation pictures."""
    return [root / f"{group}_{split}.json" for group in PASCAL_GROUPS for split in ("train", "val")]


def read_parts(file: Path) -> dict[str, Any]:
    """Names of the parts by id, pictures by id, and annotations.

    Raises:
        UsageError: the file cannot be read or is in another format.
    """
    try:
        content = parse_json(file.read_bytes())
        return {
            "categories": {
                int(c["id"]): str(c["name"]) for c in content["categories"] if _OF in str(c["name"])
            },
            "images": {int(one["id"]): one for one in content["images"]},
            "annotations": content["annotations"],
        }
    except (OSError, *BROKEN) as error:
        raise UsageError(f"{file} is no file of parts: {shown(error)}") from None


def _picture_name(image: Mapping[str, Any]) -> str:
    """The file's name, with a folder as in the picture's address where it has an address."""
    name = PurePosixPath(str(image["file_name"]))
    if len(name.parts) > 1 or "coco_url" not in image:
        return str(name)
    return "/".join(PurePosixPath(str(image["coco_url"])).parts[-2:])


def _crop(box: list[float], image: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """The corners of a box of left, top, width and height, cut to whole pixels of the picture."""
    x, y, width, height = map(float, box)
    right = min(int(image["width"]), int(x + width))
    bottom = min(int(image["height"]), int(y + height))
    return min(max(0, int(x)), right - 1), min(max(0, int(y)), bottom - 1), right, bottom


def _overlap(box: list[float], crop: tuple[int, int, int, int]) -> bool:
    """Whether a part of left, top, width and height shows at least a pixel within a crop."""
    x, y, width, height = map(float, box)
    across = min(x + width, crop[2]) - max(x, crop[0])
    down = min(y + height, crop[3]) - max(y, crop[1])
    return across >= 1 and down >= 1
