"""Benchmarks of images with a mask of one class each.

ISIC2018/ISIC2018_Task1-2_Training_Input/{1,2,3}/<name>.jpg
         ISIC2018_Task1_Training_GroundTruth/<name>_segmentation.png
ChestXray/CXR_png/<name>.png, masks/<name>.png or <name>_mask.png
PerSeg/Images/<object>/<number>.jpg, Annotations/<object>/<number>.png
PerMIS/<video>/<frame>.jpg, <frame>_<object>.png
FSS-1000: see `data.fss1000`.
"""

import re
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from common.errors import UsageError
from common.images import open_image, read_image
from data.class_index import ImageFiles
from data.classes import Role, numbered
from data.reader import Reader


class MaskedImage(NamedTuple):
    """An image, and where its class is."""

    class_id: int
    files: ImageFiles


@dataclass
class BinaryMasks(Reader):
    """Reads such a folder: what is tested of it."""

    inner: ClassVar[tuple[str, ...]]
    """The folders that a folder of this data set has."""
    least: ClassVar[int] = 128
    """The grey value of a mask from which on the class is there."""

    fold: int = 0

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        missing = [folder for folder in cls.inner if not (root / folder).is_dir()]
        return f"is not in the layout of {cls.folder}: it lacks {missing[0]}" if missing else ""

    @abstractmethod
    def find_images(self) -> dict[str, MaskedImage]:
        """All images by name, in the order in which they are listed; some may lack their files."""

    @cached_property
    def images(self) -> dict[str, MaskedImage]:
        """See `find_images`."""
        return self.find_images()

    def classes_of(self, role: Role) -> tuple[int, ...]:
        return tuple(self.class_names) if role == "test" else ()

    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        if images != "test" or role != "test":
            raise UsageError(f"{self.benchmark} is tested on here, not trained on")
        found = {name: (one.class_id,) for name, one in self.images.items()}
        if not found:
            raise UsageError(f"{self.root} has no images with masks. {self.remedy()}")
        return found

    def files_of(self, name: str) -> ImageFiles:
        if name not in self.images:
            raise UsageError(f"{self.root} has no image {name}")
        return self.images[name].files

    def read_class(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        files = self.files_of(name)
        image = read_image(files.image, upright=False)
        with open_image(files.mask, "mask") as stored:
            mask = np.asarray(stored.convert("L")) >= self.least
        if image.shape[:2] != mask.shape:
            raise UsageError(
                f"sizes differ (height, width): {files.mask} {mask.shape}, "
                f"{files.image} {image.shape[:2]}"
            )
        return image, (mask & (self.images[name].class_id == class_id)).astype(np.uint8)


class Isic(BinaryMasks):
    """ISIC 2018, task 1: skin lesions, with the images in a folder for each diagnosis."""

    name = "isic2018"
    folder = "ISIC2018"
    sampler = "turns"
    inner = ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth")
    classes = numbered("seborrheic keratosis, nevus, melanoma")

    def find_images(self) -> dict[str, MaskedImage]:
        images, masks = (self.root / folder for folder in self.inner)
        return {
            f"{class_id}/{path.stem}": MaskedImage(
                class_id, ImageFiles(path, masks / f"{path.stem}_segmentation.png")
            )
            for class_id in self.classes
            for path in sorted((images / str(class_id)).glob("[!.]*.jpg"))
        }


class ChestXray(BinaryMasks):
    """X-rays of chests with masks of the lungs: those of Shenzhen and Montgomery that have one."""

    name = "chest_xray"
    folder = "ChestXray"
    sampler = "turns"
    inner = ("CXR_png", "masks")
    classes = numbered("lung")

    def find_images(self) -> dict[str, MaskedImage]:
        images, masks = (self.root / folder for folder in self.inner)
        found = {path.stem.removesuffix("_mask"): path for path in masks.glob("[!.]*.png")}
        return {
            name: MaskedImage(1, ImageFiles(images / f"{name}.png", found[name]))
            for name in sorted(found)
        }


class PerSeg(BinaryMasks):
    """PerSeg: a folder of pictures for each single object, of which the first is the reference."""

    name = "perseg"
    folder = "PerSeg"
    sampler = "first"
    inner = ("Images", "Annotations")
    least = 1  # objects are of a dark red

    def known_classes(self) -> dict[int, str]:
        folders = sorted(path for path in (self.root / "Images").glob("[!.]*") if path.is_dir())
        self._folders = {number: path.name for number, path in enumerate(folders, start=1)}
        # a second dog, dog2, is a dog: what is in brackets says nothing of the kind
        return {
            number: re.sub(r"(\d+)$", r" (\1)", name).replace("_", " ")
            for number, name in self._folders.items()
        }

    def find_images(self) -> dict[str, MaskedImage]:
        images, masks = (self.root / folder for folder in self.inner)
        return {
            f"{folder}/{path.stem}": MaskedImage(
                class_id, ImageFiles(path, masks / folder / f"{path.stem}.png")
            )
            for class_id, folder in self._folders.items()
            for path in sorted((images / folder).glob("[!.]*.jpg"))
        }


class PerMis(BinaryMasks):
    """PerMIS: objects of videos in which there are others of their kind; all are one class.

    An image's name is video/object/frame, so that an object is a folder: see sampler "first".
    """

    name = "permis"
    folder = "PerMIS"
    sampler = "first"
    inner = ()
    classes = numbered("object")

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        there = next(root.glob("*/*_*.png"), None)
        return "" if there else "is not in the layout of PerMIS: it has no <video>/*_*.png"

    def find_images(self) -> dict[str, MaskedImage]:
        found = {}
        for path in self.root.glob("*/[!.]*_*.png"):
            frame, _, number = path.stem.rpartition("_")
            name = f"{path.parent.name}/{number}/{frame}"
            found[name] = MaskedImage(1, ImageFiles(path.with_name(f"{frame}.jpg"), path))
        return {name: found[name] for name in sorted(found)}
