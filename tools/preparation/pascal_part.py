"""Make the files of PASCAL-Part of its .mat files: parts merged, in COCO's format.

The merged parts of the published benchmark are in a file of the Matcher project that is not known
here. This is our own rule: left and right, front and back, upper and lower, and numbered copies of
a part are one part (the left lower front leg is a leg), a train's and a coach's sides are sides.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.coco_masks import mask_annotation
from common.errors import UsageError
from common.files import write_atomically
from data.class_index import name_some
from data.parallel import parallel_map
from data.parts import PASCAL_GROUPS, pascal_part_files
from tools.preparation.convert import read_image_list

ANNOTATIONS = "Annotations_Part"
GROUP_OF = {
    name: group
    for group, names in zip(
        PASCAL_GROUPS,
        (
            "bird cat cow dog horse sheep",
            "bottle chair diningtable pottedplant sofa tvmonitor",
            "person",
            "aeroplane bicycle boat bus car motorbike train",
        ),
        strict=True,
    )
    for name in names.split()
}
"""Object of VOC -> its group."""
_MERGED = {
    "eye": "leye reye",
    "ear": "lear rear",
    "eyebrow": "lebrow rebrow",
    "horn": "lhorn rhorn",
    "wing": "lwing rwing",
    "arm": "llarm luarm rlarm ruarm",
    "hand": "lhand rhand",
    "leg": """lleg rleg lfleg rfleg lbleg rbleg llleg luleg rlleg ruleg
        lfuleg lflleg rfuleg rflleg lbuleg lblleg rbuleg rblleg""",
    "foot": "lfoot rfoot",
    "paw": "lfpa rfpa lbpa rbpa",
    "hoof": "lfho rfho lbho rbho",
    "wheel": "fwheel bwheel",
    "mirror": "leftmirror rightmirror",
    "license plate": "fliplate bliplate",
    "front": "frontside hfrontside cfrontside",
    "back": "backside hbackside cbackside",
    "side": "leftside rightside hleftside hrightside cleftside crightside",
    "roof": "roofside hroofside croofside",
}
_PART_OF = {own: part for part, names in _MERGED.items() for own in names.split()}


def merged_part(name: str) -> str:
    """The part that a part of PASCAL-Part's files belongs to: wheel_2 is a wheel."""
    own = re.sub(r"_\d+$", "", name.lower())
    return _PART_OF.get(own, own)


def make_pascal_part(folder: Path, workers: int | None) -> None:
    """Write {group}_{train,val}.json where they are missing and the .mat files are there.

    Args:
        folder: PASCAL-Part, with Annotations_Part/ in it and VOC2010 or VOC2012 beside it.

    Raises:
        UsageError: a list or a .mat file is missing, or broken.
    """
    if all(file.is_file() for file in pascal_part_files(folder)):
        return
    source = folder / ANNOTATIONS
    if not source.is_dir():
        raise UsageError(f"no such folder: {source}, the .mat files of PASCAL-Part")
    pictures: dict[str, tuple[list[str], list[_Picture]]] = {}
    for split in ("train", "val"):
        listed = set(read_image_list(_voc(folder) / "ImageSets" / "Main" / f"{split}.txt"))
        names = sorted(path.stem for path in source.glob("*.mat") if path.stem in listed)
        if not names:
            raise UsageError(f"{source} has no file of a picture of {split}")
        read = partial(_read, folder=source)
        title = f"reading parts ({split})"
        pictures[split] = names, parallel_map(read, names, workers=workers, description=title)
    kinds = {
        kind
        for _, some in pictures.values()
        for one in some
        for _, parts in one.objects
        for kind, _ in parts
    }
    numbers = {kind: number for number, kind in enumerate(sorted(kinds), start=1)}
    for split, (names, some) in pictures.items():
        for group in PASCAL_GROUPS:
            text = json.dumps(_content(names, some, numbers, group))
            file = folder / f"{group}_{split}.json"
            write_atomically(file, lambda path, text=text: path.write_text(text))


def _voc(folder: Path) -> Path:
    """VOC 2010, whose lists PASCAL-Part's pictures come from."""
    voc = folder.parent / "VOC2010"
    if not voc.is_dir():
        raise UsageError(f"no such folder: {voc}, whose ImageSets/Main has the lists of pictures")
    return voc


class _Picture(NamedTuple):
    """What is said of a picture."""

    size: tuple[int, int]
    """Height and width."""
    objects: list[tuple[str, list[tuple[str, dict[str, Any]]]]]
    """Those that have parts: what it is, and the annotations of itself and its merged parts."""


def _read(name: str, folder: Path) -> _Picture:
    from scipy.io import loadmat  # takes seconds

    path = folder / f"{name}.mat"
    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False)["anno"]
        objects, size = [], (0, 0)
        for one in np.atleast_1d(content.objects):
            mask, kind = np.atleast_2d(one.mask) > 0, str(getattr(one, "class"))
            size = mask.shape
            merged: dict[str, np.ndarray] = {}
            for part in np.atleast_1d(one.parts):
                own = f"{kind}:{merged_part(str(part.part_name))}"
                merged[own] = merged.get(own, False) | (np.atleast_2d(part.mask) > 0)
            shown = [(own, mask_annotation(mask)) for own, mask in merged.items() if mask.any()]
            if shown and mask.any():
                objects.append((kind, [(kind, mask_annotation(mask)), *shown]))
    except UsageError:
        raise
    except Exception as error:  # scipy raises many kinds for broken files
        raise UsageError(f"cannot read {path} as parts of objects: {error!r}") from None
    if unknown := sorted({kind for kind, _ in objects} - GROUP_OF.keys()):
        raise UsageError(f"{path}: no objects of VOC: {name_some(unknown)}")
    return _Picture(size, objects)


def _content(
    names: Sequence[str], pictures: Sequence[_Picture], numbers: Mapping[str, int], group: str
) -> dict[str, Any]:
    """A file in COCO's format: a group's objects, each with its parts after it."""
    images, annotations = [], []
    for place, (name, (size, objects)) in enumerate(zip(names, pictures, strict=True), start=1):
        own = [parts for kind, parts in objects if GROUP_OF[kind] == group]
        if own:
            height, width = size
            file = f"{name}.jpg"
            images.append({"id": place, "file_name": file, "height": height, "width": width})
        for parts in own:
            owner = len(annotations) + 1
            for kind, facts in parts:
                ids = {"id": len(annotations) + 1, "obj_ann_id": owner, "image_id": place}
                annotations.append({**ids, "category_id": numbers[kind], **facts})
    categories = [
        {"id": number, "name": kind}
        for kind, number in numbers.items()
        if GROUP_OF[kind.partition(":")[0]] == group
    ]
    return {"images": images, "annotations": annotations, "categories": categories}
