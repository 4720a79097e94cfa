"""ADE20K's 150 classes for scene parsing (SceneParsing): a class in every pixel.

ADEChallengeData2016/images/{training,validation}/<name>.jpg, the masks
ADEChallengeData2016/annotations/{training,validation}/<name>.png of class ids 1 to 150 (0: anything
else), and objectInfo150.txt, a table whose last column has the names of the classes.
"""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.images import read_image, read_mask
from data.annotated.class_masks import ClassMasks
from data.class_index import (
    ImageFiles,
    class_lists_from_pixels,
    fingerprint,
    name_some,
    scan_class_pixels,
)
from data.reader import Description

CLASSES = 150
NAMES_FILE = "objectInfo150.txt"


class Ade20k(ClassMasks):
    """One side of ADE20K.

    Args:
        root: the folder ADEChallengeData2016.
        split: "training" or "validation".
        without: ids of classes of which nothing may be seen: pictures with a pixel of them are left
            out, and they are no keys of `class_names`.
        workers: processes that scan masks; None takes one per processor.

    Raises:
        UsageError: a folder or file is missing or in another format.
    """

    def __init__(
        self,
        root: Path,
        split: str = "training",
        without: Collection[int] = (),
        workers: int | None = None,
    ) -> None:
        self.name = "ade20k_semantic"
        self.root, self.split = root, split
        self.domain = "drawings" if Description.read(root).generated else "photographs"
        self.all_names = read_class_names(root / NAMES_FILE)
        self.class_names: Mapping[int, str] = {
            c: names[0] for c, names in self.all_names.items() if c not in without
        }
        self._without, self._workers = frozenset(without), workers
        self._files = _files(root, split)

    @cached_property
    def class_lists(self) -> Mapping[str, tuple[int, ...]]:
        """Name -> classes with at least one pixel. The first use scans the masks."""
        cache = self.root / f"class_pixels_{self.split}.json"
        pixels = scan_class_pixels(self._files, cache, CLASSES, self._workers)
        lists = class_lists_from_pixels(pixels, self.class_names, 1, self._without)
        if not lists:
            raise UsageError(f"{self.root}: no {self.split} picture shows a class that may be seen")
        return lists

    def fingerprint(self) -> str:
        return fingerprint({name: self._files[name] for name in self.names}, times=False)[:16]

    def labels(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        files = self._files.get(name)
        if files is None:
            raise UsageError(f"{self.root} has no {self.split} picture {name}")
        pixels, labels = read_image(files.image, upright=False), read_mask(files.mask)
        if pixels.shape[:2] != labels.shape:
            raise UsageError(
                f"sizes differ (height, width): {files.mask} {labels.shape}, "
                f"{files.image} {pixels.shape[:2]}"
            )
        return pixels, labels


def read_class_names(file: Path) -> dict[int, tuple[str, ...]]:
    """Class id -> all names of the class, the commonest one first.

    Raises:
        UsageError: the table is missing, or does not name the classes 1 to 150.
    """
    try:
        rows = [line.split("\t") for line in file.read_text().splitlines()[1:] if line.strip()]
        names = {
            int(row[0]): tuple(name.strip() for name in row[-1].replace(";", ",").split(","))
            for row in rows
        }
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the table of classes {file}: {error}") from None
    if sorted(names) != list(range(1, CLASSES + 1)):
        raise UsageError(f"{file} does not name the classes 1 to {CLASSES}")
    return names


def _files(root: Path, split: str) -> dict[str, ImageFiles]:
    images, masks = root / "images" / split, root / "annotations" / split
    for folder in (images, masks):
        if not folder.is_dir():
            raise UsageError(
                f"no such folder: {folder}. python -m tools.prepare ade20k says what is missing"
            )
    names = sorted(path.stem for path in masks.glob("[!.]*.png"))
    missing = [name for name in names if not (images / f"{name}.jpg").is_file()]
    if missing or not names:
        what = f"the pictures of {len(missing)} masks: {name_some(missing)}" if names else "masks"
        raise UsageError(f"{root} lacks {what}")
    return {name: ImageFiles(images / f"{name}.jpg", masks / f"{name}.png") for name in names}
