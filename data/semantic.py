"""Semantic benchmarks: every pixel of a picture has a class, and all classes are asked for.

    coco      COCO2014/{train2014,val2014}/*.jpg, annotations/{train2014,val2014}/*.png
    ade20k    ADEChallengeData2016/images/{training,validation}/*.jpg, annotations/.../*.png
    pc459     VOC2010/JPEGImages/*.jpg, annotations_detectron2/pc459_{train,val}/*.tif
    a847      ADE20K_2021_17_01/images_detectron2/{training,validation}/*.jpg,
              annotations_detectron2/{training,validation}/*.tif

The .tif files are those that the field's scripts for open-vocabulary segmentation write: 16 bits, 0
for the first class, 65535 for pixels of no class. Names of their classes: `classes.txt` in the
folder, one a line, or PASCAL-Context's own `labels.txt`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from common.errors import UsageError
from common.images import IGNORED, read_image, read_mask, read_wide_mask
from data.annotated.ade20k import NAMES_FILE, read_class_names
from data.class_index import ClassPixels, ImageFiles, name_some, scan_class_pixels
from data.classes import COCO_CLASSES
from data.reader import Description

Part = Literal["training", "validation"]
WIDE_IGNORED = 65535
SHIFTED = "a847_shifted_names"
"""A-847 as SegIC's program reads it, see `Layout.open`."""


@dataclass(frozen=True)
class Layout:
    """Where one semantic benchmark lies in its folder."""

    folder: str
    images: Mapping[Part, str]
    masks: Mapping[Part, str]
    names: Callable[[Path], Mapping[int, str]]
    """Reads the names of the classes, by id, from the folder."""
    wide: bool = False
    """Masks have 16 bits, and the first class is 0 in them."""
    background: bool = False
    """Pixels of no class are background, of which no class may be found; else they do not count."""

    @property
    def ignored(self) -> int:
        """The value of pixels that do not count, in what `read_ids` returns."""
        return WIDE_IGNORED if self.wide else IGNORED

    def read_ids(self, path: Path) -> np.ndarray:
        """A mask as class ids from 1 on, 0 for none, or `ignored`; H x W uint8 or uint16."""
        if not self.wide:
            return read_mask(path)
        values = read_wide_mask(path)
        return np.where(values == WIDE_IGNORED, values, values + 1)


@dataclass(frozen=True)
class SemanticImages:
    """The training or the validation images of a semantic benchmark."""

    layout: Layout
    part: Part
    root: Path
    class_names: Mapping[int, str]
    dropped: frozenset[int] = frozenset()
    """Classes that are taken for none."""
    workers: int | None = None
    """Processes that scan masks; None takes one per processor."""

    @property
    def domain(self) -> str:
        """What the pictures are, see `data.benchmarks.Split.domain`."""
        return "drawings" if Description.read(self.root).generated else "photographs"

    @cached_property
    def files(self) -> Mapping[str, ImageFiles]:
        """All images, by name, ascending.

        Raises:
            UsageError: a folder is missing or empty, or a mask has no image.
        """
        images = self.root / self.layout.images[self.part]
        masks = self.root / self.layout.masks[self.part]
        for folder in (images, masks):
            if not folder.is_dir():
                raise UsageError(f"no such folder of {self.part} images: {folder}")
        suffix = ".tif" if self.layout.wide else ".png"
        names = sorted(path.stem for path in masks.glob(f"[!.]*{suffix}"))
        found = {n: ImageFiles(images / f"{n}.jpg", masks / f"{n}{suffix}") for n in names}
        missing = [name for name, files in found.items() if not files.image.is_file()]
        if missing or not names:
            wrong = f"lacks the images of {len(missing)} masks: {name_some(missing)}"
            raise UsageError(f"{images} {wrong}" if missing else f"{masks} holds no {suffix} file")
        return found

    @cached_property
    def class_pixels(self) -> ClassPixels:
        """Name -> class id -> pixels. The first use scans the masks, and keeps the counts."""
        found = scan_class_pixels(
            self.files,
            self.root / f"class_pixels_{Path(self.layout.masks[self.part]).name}.json",
            max([*self.class_names, *self.dropped]),
            self.workers,
            self.layout.read_ids,
            self.layout.ignored,
        )
        return {
            name: {c: count for c, count in counts.items() if c in self.class_names}
            for name, counts in found.items()
        }

    @cached_property
    def images_of(self) -> Mapping[int, tuple[str, ...]]:
        """Class id -> names of the images that show it; classes that none shows are left out."""
        found: dict[int, list[str]] = {}
        for name, counts in self.class_pixels.items():
            for class_id in counts:
                found.setdefault(class_id, []).append(name)
        return {class_id: tuple(found[class_id]) for class_id in sorted(found)}

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """An image, H x W x 3 uint8 RGB, and its class ids, H x W int32: 0 for background, -1 for
        pixels that do not count.

        Raises:
            UsageError: a file is missing or corrupt, or the two differ in size.
        """
        files = self.files[name]
        image = read_image(files.image, upright=False)
        ids = self.layout.read_ids(files.mask).astype(np.int32)
        if image.shape[:2] != ids.shape:
            raise UsageError(
                f"sizes differ (height, width): {files.mask} {ids.shape}, "
                f"{files.image} {image.shape[:2]}"
            )
        nothing = (ids == 0) | np.isin(ids, list(self.dropped))
        ids[ids == self.layout.ignored] = -1
        ids[nothing] = 0 if self.layout.background else -1
        return image, ids


def open_semantic(
    benchmark: str, datapath: Path, part: Part, shifted_names: bool = False
) -> SemanticImages:
    """Open one side of a semantic benchmark.

    Args:
        benchmark: one of `LAYOUTS`.
        datapath: the folder that contains the benchmark's, or that one.
        shifted_names: of a847: leave its first class out, and call every other class by the name of
            the one before it, as SegIC's program does.

    Raises:
        UsageError: there is no such folder, or the names of its classes cannot be read.
    """
    layout = LAYOUTS[benchmark]
    root = datapath / layout.folder
    if not root.is_dir():
        root = datapath
    if not (root / layout.masks[part]).is_dir():
        raise UsageError(
            f"{datapath} holds no {layout.folder} with {layout.masks[part]}. python -m "
            f"tools.prepare {benchmark} --root {datapath} says what is missing"
        )
    names = dict(layout.names(root)) | dict(Description.read(root).class_names)
    if not shifted_names:
        return SemanticImages(layout, part, root, names)
    shifted = {class_id: names[class_id - 1] for class_id in names if class_id > 1}
    return SemanticImages(layout, part, root, shifted, frozenset({1}))


def _listed_names(root: Path) -> dict[int, str]:
    """The names in `classes.txt`, one a line, or in `labels.txt`, as "1: name".

    Raises:
        UsageError: there is neither file, or it is empty.
    """
    for file in (root / "classes.txt", root / "labels.txt"):
        if file.is_file():
            lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
            names = [line.partition(":")[2].strip() or line for line in lines]
            if names:
                return dict(enumerate(names, start=1))
    raise UsageError(f"{root} names no classes: put classes.txt there, one name a line")


def _scene_names(root: Path) -> dict[int, str]:
    """The first name of each class of ADE20K."""
    return {c: names[0] for c, names in read_class_names(root / NAMES_FILE).items()}


LAYOUTS: Mapping[str, Layout] = {
    "coco": Layout(
        folder="COCO2014",
        images={"training": "train2014", "validation": "val2014"},
        masks={"training": "annotations/train2014", "validation": "annotations/val2014"},
        names=lambda root: COCO_CLASSES,
        background=True,
    ),
    "ade20k": Layout(
        folder="ADEChallengeData2016",
        images={"training": "images/training", "validation": "images/validation"},
        masks={"training": "annotations/training", "validation": "annotations/validation"},
        names=_scene_names,
    ),
    "pc459": Layout(
        folder="VOC2010",
        images={"training": "JPEGImages", "validation": "JPEGImages"},
        masks={
            "training": "annotations_detectron2/pc459_train",
            "validation": "annotations_detectron2/pc459_val",
        },
        names=_listed_names,
        wide=True,
    ),
    "a847": Layout(
        folder="ADE20K_2021_17_01",
        images={
            "training": "images_detectron2/training",
            "validation": "images_detectron2/validation",
        },
        masks={
            "training": "annotations_detectron2/training",
            "validation": "annotations_detectron2/validation",
        },
        names=_listed_names,
        wide=True,
    ),
}


@dataclass(frozen=True)
class References:
    """One labelled image for each class of a semantic benchmark."""

    images: SemanticImages
    """Where they are read."""
    names: Mapping[int, tuple[str, ...]]
    """Class id -> the image, and a spare one for the case that the image itself is segmented; where
    there is no other image, there is none."""

    @classmethod
    def draw(cls, images: SemanticImages, seed: int) -> "References":
        """Draw them uniformly among the images that count for a class, see `data.class_index`.

        Where a class covers enough pixels of no image, those that show most of it are taken.
        """
        least = Description.read(images.root).min_pixels
        found = {}
        for class_id, names in images.images_of.items():
            area = {name: images.class_pixels[name][class_id] for name in names}
            enough = [name for name in names if area[name] >= least]
            random = np.random.default_rng((seed, class_id, 6))
            drawn = [enough[i] for i in random.permutation(len(enough))]
            rest = sorted(names, key=lambda name: (-area[name], name))
            found[class_id] = tuple(dict.fromkeys([*drawn[:2], *rest[:3]]))[:2]
        return cls(images, found)

    def of(self, class_id: int, segmented: str, same_images: bool) -> str | None:
        """The reference of a class for an image; None: its only image is the one segmented.

        Args:
            segmented: the image's name.
            same_images: whether it is one of the images that references are taken from.
        """
        others = (name for name in self.names[class_id] if not (same_images and name == segmented))
        return next(others, None)
