"""Benchmarks whose masks give every pixel a class, in a folder beside that of their images.

SUIM/{train_val,TEST}/images/*.jpg, masks/*.bmp      in colours
DeepGlobe/pieces/images/*.png, masks/*.png           in colours, made by tools.prepare
iSAID/val/images/*.png, semantic_png/*_instance_color_RGB.png   class ids, 255 ignored
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from common.errors import UsageError
from common.images import read_image
from data.class_index import MIN_PIXELS, ImageFiles
from data.classes import Role, numbered
from data.reader import MaskReader

SUIM_PARTS = ("train_val", "TEST")
_HALF = 128
_DEEPGLOBE: Mapping[int, str] = dict(
    zip(
        (1, 2, 3, 5, 6, 7),
        ("water", "forest", "urban land", "rangeland", "agriculture land", "barren land"),
        strict=True,
    )
)
"""The numbers are those of their colours."""
_ISAID = """
    ship, storage tank, baseball diamond, tennis court, basketball court, ground track field,
    bridge, large vehicle, small vehicle, helicopter, swimming pool, roundabout, soccer ball field,
    plane, harbor
"""


def read_colours(path: Path) -> np.ndarray:
    """A mask of full colours as H x W uint8: 4 where there is red, plus 2 for green, 1 for blue.

    Masks of SUIM and DeepGlobe are not quite pure: a channel counts from 128 on.

    Raises:
        UsageError: the file is missing or cannot be decoded.
    """
    return (read_image(path, upright=False) >= _HALF).astype(np.uint8) @ np.uint8([4, 2, 1])


@dataclass
class PixelClasses(MaskReader):
    """Reads such a folder: what is tested of it."""

    inner: ClassVar[tuple[str, str]]
    """The folders of images and of masks."""
    endings: ClassVar[tuple[str, str]]
    """Of an image's file, and of its mask's instead of that."""
    least_pixels: ClassVar[int] = MIN_PIXELS
    """An image counts for a class from so many pixels on."""

    fold: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.min_pixels = min(self.min_pixels, self.least_pixels)

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        missing = [folder for folder in cls.inner if not (root / folder).is_dir()]
        return f"is not in the layout of {cls.folder}: it lacks {missing[0]}" if missing else ""

    @property
    def folders(self) -> tuple[Path, Path]:
        """Where images and masks lie."""
        images, masks = self.inner
        return self.root / images, self.root / masks

    def classes_of(self, role: Role) -> tuple[int, ...]:
        return tuple(self.class_names) if role == "test" else ()

    def files(self, role: Role) -> dict[str, ImageFiles]:
        masks, ending = self.folders[1], self.endings[1]
        names = sorted(
            path.name.removesuffix(ending)
            for path in masks.glob(f"[!.]*{ending}")
            if path.name.removesuffix(ending)
        )
        if not names:
            raise UsageError(f"{masks} has no masks *{ending}. {self.remedy()}")
        return {name: self.files_of(name) for name in names}

    def files_of(self, name: str) -> ImageFiles:
        images, masks = self.folders
        return ImageFiles(images / f"{name}{self.endings[0]}", masks / f"{name}{self.endings[1]}")

    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        if images != "test" or role != "test":
            raise UsageError(f"{self.benchmark} is tested on here, not trained on")
        return super().class_lists(images, role)

    def name_of(self, listed_path: str) -> str:
        return Path(listed_path).stem

    def cache(self, role: Role) -> Path:
        return self.root / f"class_pixels_{self.folders[0].parent.name}.json"


@dataclass
class Suim(PixelClasses):
    """SUIM: what is under water. An image counts for a class from its first pixel on."""

    name = "suim"
    folder = "SUIM"
    sampler = "turns"
    inner = ("train_val/images", "train_val/masks")
    endings = (".jpg", ".bmp")
    least_pixels = 1
    classes = numbered("human diver, aquatic plant, wreck, robot, reef, fish, sea floor")

    part: str = SUIM_PARTS[0]
    """One of `SUIM_PARTS`."""

    @property
    def folders(self) -> tuple[Path, Path]:
        return self.root / self.part / "images", self.root / self.part / "masks"

    def mask_values(self) -> Callable[[Path], np.ndarray]:
        return read_colours


class DeepGlobe(PixelClasses):
    """DeepGlobe's land cover, photographs of the ground from above, in pieces."""

    name = "deepglobe"
    folder = "DeepGlobe"
    sampler = "turns"
    inner = ("pieces/images", "pieces/masks")
    endings = (".png", ".png")
    classes = _DEEPGLOBE

    def mask_values(self) -> Callable[[Path], np.ndarray]:
        return read_colours


class Isaid(PixelClasses):
    """iSAID-5i: patches of photographs from above, with three folds of five classes in a row."""

    name = "isaid5i"
    folder = "iSAID"
    sampler = "queries"
    inner = ("val/images", "val/semantic_png")
    endings = (".png", "_instance_color_RGB.png")
    classes = numbered(_ISAID)

    def classes_of(self, role: Role) -> tuple[int, ...]:
        return tuple(range(5 * self.fold + 1, 5 * self.fold + 6)) if role == "test" else ()
