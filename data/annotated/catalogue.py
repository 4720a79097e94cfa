"""The sources by name, and what each leaves out so that tested classes stay unseen.

Published trainings "without COCO" keep ADE20K and LVIS whole, although these show COCO's classes,
and LVIS even COCO's pictures. Where classes and pictures of COCO are to be left out here, nothing
of them is seen:

- pictures of COCO, if COCO marks such a class in them, be it a crowd;
- those of LVIS and PACO, which are COCO's, by the same marks, and by their own classes that mean
  one;
- those of ADE20K and Objects365 by their classes that mean one (see `meanings`).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from data.annotated.ade20k import NAMES_FILE, Ade20k, read_class_names
from data.annotated.instances import Instances, open_instances
from data.annotated.meanings import classes_meaning
from data.annotated.object_parts import ObjectParts
from data.annotated.panoptic import Panoptic, open_panoptic
from data.annotated.source import AnnotatedImages
from data.classes import COCO_CATEGORY_IDS
from data.parts import paco_file

COCO, LVIS, PACO = "COCO2017", "LVIS", "PACO"
ADE20K, OBJECTS365 = "ADEChallengeData2016", "Objects365"
"""Folders below the data path."""


@dataclass(frozen=True)
class LeftOut:
    """What of COCO may not be seen."""

    classes: Collection[int] = frozenset()
    """Ids of its 80 classes."""
    files: Collection[str] = frozenset()
    """Names of its pictures' files, without folders."""

    @property
    def categories(self) -> list[int]:
        """The same classes as `category_id` in COCO's annotations."""
        return sorted(COCO_CATEGORY_IDS[c] for c in self.classes)


NOTHING = LeftOut()


def open_source(name: str, datapath: Path, left_out: LeftOut = NOTHING) -> AnnotatedImages:
    """Open the training side of a source.

    Args:
        name: one of `SOURCES`.
        datapath: the folder that holds the data sets' folders.
        left_out: what may not be seen.

    Raises:
        UsageError: no such source, or its files are missing or in another format.
    """
    if name not in SOURCES:
        raise UsageError(f"no source {name!r}: choose of {', '.join(SOURCES)}")
    return SOURCES[name](datapath, left_out)


def _coco_instance(datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    root = datapath / COCO
    file, images = root / "annotations" / "instances_train2017.json", root / "train2017"
    return Instances("coco_instance", root, file, images, left_out.categories, left_out.files)


def _coco_panoptic(datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    root = datapath / COCO
    file, images = root / "annotations" / "panoptic_train2017.json", root / "train2017"
    what = (left_out.categories, left_out.files)
    return Panoptic("coco_panoptic", root, file, file.with_suffix(""), images, *what)


def _lvis(datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    root, coco = datapath / LVIS, datapath / COCO
    file = root / "lvis_v1_train.json"
    without = classes_meaning(open_instances(file).categories, left_out.classes)
    return Instances("lvis", root, file, coco, without, _marked(coco, left_out))


def _marked(coco: Path, left_out: LeftOut) -> set[str]:
    """Files of COCO's pictures that are left out or in which COCO marks what is."""
    files = set(left_out.files)
    if left_out.classes:
        index = open_instances(coco / "annotations" / "instances_train2017.json")
        showing = index.pictures_with(left_out.categories).nonzero()[0]
        files |= {index.file(picture).rpartition("/")[2] for picture in showing}
    return files


def _paco_part(datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    root, coco = datapath / PACO, datapath / COCO
    file = paco_file(root, "train")
    without = classes_meaning(open_instances(file).categories, left_out.classes)
    images = root if (root / "train2017").is_dir() else coco
    return ObjectParts("paco_part", root, file, images, without, _marked(coco, left_out))


def _objects365(datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    root = datapath / OBJECTS365
    masks = root / "masks" / "train"
    without = classes_meaning(open_instances(masks).categories, left_out.classes)
    return Instances("objects365", root, masks, root / "train", without)


def _ade20k_semantic(datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    root = datapath / ADE20K
    names = read_class_names(root / NAMES_FILE)
    return Ade20k(root, "training", classes_meaning(names, left_out.classes))


def _ade20k_panoptic(datapath: Path, left_out: LeftOut) -> AnnotatedImages:
    root = datapath / ADE20K
    file, images = root / "ade20k_panoptic_train.json", root / "images" / "training"
    without = classes_meaning(open_panoptic(file).categories, left_out.classes)
    return Panoptic("ade20k_panoptic", root, file, file.with_suffix(""), images, without)


SOURCES: Mapping[str, Callable[[Path, LeftOut], AnnotatedImages]] = {
    "coco_instance": _coco_instance,
    "coco_panoptic": _coco_panoptic,
    "lvis": _lvis,
    "paco_part": _paco_part,
    "ade20k_semantic": _ade20k_semantic,
    "ade20k_panoptic": _ade20k_panoptic,
    "objects365": _objects365,
}
"""The sources by name: COCO 2017's objects and segments, LVIS v1, objects of PACO with their parts,
the scene parsing and the segments of ADE20K, and Objects365 with masks of `tools.box_masks`. Class
masks of COCO and PASCAL are those of a benchmark, see `data.annotated.class_masks`."""
