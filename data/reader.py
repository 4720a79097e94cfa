"""What the readers of PASCAL and COCO have in common: files -> class lists -> image and mask."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UsageError
from common.images import read_image
from data.class_index import (
    MIN_PIXELS,
    ImageFiles,
    class_lists_from_pixels,
    name_some,
    read_given_lists,
    scan_class_pixels,
)
from data.classes import Role, fold_classes
from data.image_io import read_mask

DESCRIPTION_FILE = "benchmark.json"
"""Says, in a folder of generated data, how it was made and from how many pixels a class counts."""


class Reader(ABC):
    """Reads one data set's folder for one fold.

    Args:
        root: the data set's folder.
        fold: 0 to 3.
        benchmark: whose folds are meant, see `data.classes.fold_classes`.
        lists: a folder with lists in the community's format to use instead of scanning masks.
        workers: processes that scan masks; None takes one per processor.

    Raises:
        UsageError: no such benchmark or fold, or a folder in another layout.
    """

    name: str
    """Of the data set, for messages and headers."""
    class_names: Mapping[int, str]
    sampler: str
    """How the field draws episodes of this data set, one of `data.classes.SAMPLERS`."""

    def __init__(
        self,
        root: Path,
        fold: int,
        *,
        benchmark: str,
        lists: Path | None = None,
        workers: int | None = None,
    ) -> None:
        self.root = root
        self.fold = fold
        self.benchmark = benchmark
        self.lists = lists
        self.workers = workers
        self.class_names = {**self.class_names, **described_classes(root)}
        fold_classes(benchmark, fold, "test")  # refuses a wrong name or fold at once

    @property
    def min_pixels(self) -> int:
        """How many pixels a class must cover for an image to count for it."""
        return _described(self.root, "min_pixels", MIN_PIXELS, int)

    @abstractmethod
    def files(self, role: Role) -> dict[str, ImageFiles]:
        """The files of all images of the training or validation set, by image name.

        Raises:
            UsageError: the folder has another layout, or lacks this part.
        """

    @abstractmethod
    def files_of(self, name: str) -> ImageFiles:
        """Where an image and its mask lie."""

    @abstractmethod
    def name_of(self, listed_path: str) -> str:
        """The name of an image that a list in the community's format gives as a path."""

    @abstractmethod
    def cache(self, role: Role) -> Path:
        """Where the counts of the mask scan are kept."""

    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        """Return image name -> ids of the fold's classes it counts for, in the list's order.

        Training images with a single pixel of a class that is not trained on are left out.

        Args:
            images: of the training or the validation set.
            role: the classes that are trained or tested on. Given lists have no validation
                images of training classes: their training images stand in for them.

        Raises:
            UsageError: the data cannot be used, or no image shows any class of the fold.
        """
        classes = fold_classes(self.benchmark, self.fold, role)
        if self.lists is not None:
            found = read_given_lists(self.lists, role, self.fold, classes, self.name_of)
            files = (self.files_of(name) for name in found)
            missing = [str(p) for f in files for p in (f.image, f.mask) if not p.is_file()]
            if missing:
                raise UsageError(
                    f"{len(missing)} files of {self.lists} are missing: {name_some(missing)}"
                )
            return found
        pixels = scan_class_pixels(
            self.files(images), self.cache(images), max(self.class_names), self.workers
        )
        dropped = set(self.class_names) - set(classes) if images == "train" else ()
        found = class_lists_from_pixels(pixels, classes, self.min_pixels, dropped)
        if not found:
            names = ", ".join(self.class_names[c] for c in classes)
            raise UsageError(
                f"{self.root}: no {images} image shows a {role} class of fold {self.fold} ({names})"
            )
        return found

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return an image, H x W x 3 uint8 RGB, and its class ids, H x W uint8 (255: ignored).

        Raises:
            UsageError: a file is missing or corrupt, or the two differ in size.
        """
        files = self.files_of(name)
        image, mask = read_image(files.image, upright=False), read_mask(files.mask)
        if image.shape[:2] != mask.shape:
            raise UsageError(
                f"sizes differ (height, width): {files.mask} {mask.shape}, "
                f"{files.image} {image.shape[:2]}"
            )
        return image, mask


def described_classes(root: Path) -> dict[int, str]:
    """The classes' names in a folder of generated data; none for real data.

    Raises:
        UsageError: the description cannot be read.
    """
    return _described(root, "class_names", {}, _by_id)


def _described(root: Path, fact: str, default: Any, read: Callable[[Any], Any]) -> Any:
    """What a folder of generated data says of itself; the default for real data."""
    path = root / DESCRIPTION_FILE
    if not path.is_file():
        return default
    try:
        facts = json.loads(path.read_text())
        return read(facts[fact]) if fact in facts else default
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot read {path}: {error!r}") from None


def _by_id(names: dict[str, str]) -> dict[int, str]:
    return {int(number): str(name) for number, name in names.items()}
