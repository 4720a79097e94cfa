"""What readers of image benchmarks have in common: files -> class lists -> image and mask."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from common.cli import shown
from common.errors import UsageError
from common.files import BROKEN, parse_json
from common.images import IGNORED, read_image, read_mask
from data.class_index import (
    MIN_PIXELS,
    ImageFiles,
    class_lists_from_pixels,
    name_some,
    read_given_lists,
    scan_class_pixels,
)
from data.classes import Role, fold_classes, refuse_fold

DESCRIPTION_FILE = "benchmark.json"
"""Says, in a folder of generated data, how it was made and from how many pixels a class counts."""


@dataclass(frozen=True)
class Description:
    """What a folder of generated data says of itself; real data have none."""

    min_pixels: int = MIN_PIXELS
    """How many pixels a class must cover for an image to count for it."""
    class_names: Mapping[int, str] = field(default_factory=dict)
    generated: bool = False
    """Whether the pictures are drawings of this project."""

    @classmethod
    def read(cls, root: Path) -> "Description":
        """
        Raises:
            UsageError: the folder has a description that cannot be read.
        """
        path = root / DESCRIPTION_FILE
        if not path.is_file():
            return cls()
        try:
            facts = parse_json(path.read_text())
            names = facts.get("class_names", {}).items()
            return cls(
                min_pixels=int(facts.get("min_pixels", MIN_PIXELS)),
                class_names={int(number): str(name) for number, name in names},
                generated=bool(facts.get("generated", False)),
            )
        except (OSError, *BROKEN) as error:
            raise UsageError(f"cannot read {path}: {shown(error)}") from None


@dataclass
class Reader(ABC):
    """Reads one data set's folder for one fold.

    Raises:
        UsageError: no such benchmark or fold, or a folder in another layout.
    """

    name: ClassVar[str]
    """Of the data set, for messages and headers."""
    folder: ClassVar[str]
    """What the data set's folder is called."""
    classes: ClassVar[Mapping[int, str]] = {}
    """Those that are known without the folder."""
    sampler: ClassVar[str]
    """How episodes of this data set are drawn, one of `data.sampler.SAMPLERS`."""

    root: Path
    """The data set's folder."""
    fold: int
    """One of `data.classes.FOLDS_OF`."""
    benchmark: str = ""
    """Whose folds are meant, see `data.classes.fold_classes`; by default the data set's own."""

    def __post_init__(self) -> None:
        self.benchmark = self.benchmark or self.name
        description = Description.read(self.root)
        self.min_pixels = description.min_pixels
        self.domain = "drawings" if description.generated else "photographs"
        refuse_fold(self.benchmark, self.fold)
        if problem := self.layout_problem(self.root):
            raise UsageError(f"{self.root} {problem}. {self.remedy()}")
        self.class_names = {**self.known_classes(), **description.class_names}

    @classmethod
    def folder_in(cls, datapath: Path) -> Path:
        """Return this data set's folder in `datapath`, or `datapath` where it is that folder.

        Raises:
            UsageError: there is no such folder.
        """
        if not datapath.is_dir():
            raise UsageError(f"no such folder: {datapath}")
        if (datapath / cls.folder).is_dir():
            return datapath / cls.folder
        if problem := cls.layout_problem(datapath):
            raise UsageError(
                f"{datapath} holds no {cls.folder} and {problem}. {cls.remedy(datapath)}"
            )
        return datapath

    @classmethod
    def remedy(cls, folder: Path | str = "FOLDER") -> str:
        """What to do about a folder that lacks something."""
        command = f"python -m tools.prepare {cls.name} --root {folder}"
        return f"{command} says what is missing and makes it"

    @classmethod
    @abstractmethod
    def layout_problem(cls, root: Path) -> str:
        """Why a folder is not this data set's, as the end of a sentence; "" if it is."""

    def known_classes(self) -> Mapping[int, str]:
        """Names of all classes of the data set, by id."""
        return self.classes

    def classes_of(self, role: Role) -> tuple[int, ...]:
        """Ids of the classes that the fold trains on or tests on, ascending."""
        return fold_classes(self.benchmark, self.fold, role)

    @abstractmethod
    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        """Return image name -> ids of the fold's classes it counts for, in the list's order.

        Args:
            images: of the training or the validation set.
            role: the classes that are trained or tested on.

        Raises:
            UsageError: the data cannot be used, or no image shows any class of the fold.
        """

    @abstractmethod
    def files_of(self, name: str) -> ImageFiles:
        """Where an image and its mask lie."""

    @abstractmethod
    def read_class(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image, H x W x 3 uint8 RGB, and where a class is: H x W uint8 of 0, 1, or 255
        for ignored pixels.

        Raises:
            UsageError: a file is missing or corrupt, or the two differ in size.
        """


@dataclass
class MaskReader(Reader):
    """A data set whose masks hold a class id in every pixel."""

    lists: Path | None = None
    """A folder with lists in the community's format to use instead of scanning masks."""
    workers: int | None = None
    """Processes that scan masks; None takes one per processor."""

    @abstractmethod
    def files(self, role: Role) -> dict[str, ImageFiles]:
        """The files of all images of the training or validation set, by image name.

        Raises:
            UsageError: the folder has another layout, or lacks this part.
        """

    @abstractmethod
    def name_of(self, listed_path: str) -> str:
        """The name of an image that a list in the community's format gives as a path."""

    @abstractmethod
    def cache(self, role: Role) -> Path:
        """Where the counts of the mask scan are kept."""

    def mask_values(self) -> Callable[[Path], np.ndarray]:
        """A module-level function that reads a mask as class ids, H x W uint8."""
        return read_mask

    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        """See `Reader`; a class counts from `min_pixels` pixels on.

        Training images with a single pixel of a class that is not trained on are left out. Given
        lists have no validation images of training classes: their training images stand in.
        """
        classes = self.classes_of(role)
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
            self.files(images),
            self.cache(images),
            max(self.class_names),
            self.workers,
            self.mask_values(),
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
        image, mask = read_image(files.image, upright=False), self.mask_values()(files.mask)
        if image.shape[:2] != mask.shape:
            raise UsageError(
                f"sizes differ (height, width): {files.mask} {mask.shape}, "
                f"{files.image} {image.shape[:2]}"
            )
        return image, mask

    def read_class(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.read(name)
        return image, np.where(mask == IGNORED, IGNORED, mask == class_id).astype(np.uint8)
