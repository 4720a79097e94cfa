"""What generated pictures with several objects each have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data.synthetic.pictures import Drawn, Picture, list_pictures
from data.synthetic.style import SIDE

_FIRST = {"coco2017": 500_000, "ade20k": 600_000, "objects365": 700_000}
"""Where each layout's pictures begin to be counted, so that none is one of COCO 2014."""


class VisibleObject(NamedTuple):
    """One object that can be seen, or a crowd."""

    class_id: int
    mask: np.ndarray
    crowd: bool


def offset_pictures(layout: str, images: Mapping[str, int], seed: int) -> list[Picture]:
    """The pictures of a layout, of which no two layouts and no two splits have the same."""
    return [
        Picture(seed, picture.split, picture.number + _FIRST[layout] + 50_000 * picture.split)
        for picture in list_pictures(images, seed)
    ]


def visible_objects(drawn: Drawn, crowd: bool = False) -> list[VisibleObject]:
    """What can be seen of a picture; where that is asked for, the first class that has several
    objects as a crowd."""
    found = [
        VisibleObject(class_id, drawn.instances == position, False)
        for position, class_id in enumerate(drawn.classes, start=1)
        if (drawn.instances == position).any()
    ]
    classes = [one.class_id for one in found]
    several = next((c for c in classes if crowd and classes.count(c) > 1), None)
    if several is None:
        return found
    group = np.any([one.mask for one in found if one.class_id == several], axis=0)
    return [*(o for o in found if o.class_id != several), VisibleObject(several, group, True)]


def listed_image(picture: Picture, file: str) -> dict[str, Any]:
    return {"id": image_id(picture), "file_name": file, "height": SIDE, "width": SIDE}


def numbered(annotations: Sequence[dict[str, Any]], split: int) -> list[dict[str, Any]]:
    return [{"id": n, **a} for n, a in enumerate(annotations, start=1 + 1_000_000 * split)]


def image_id(picture: Picture) -> int:
    return picture.number + 1


def write_segments(
    file: Path, image_id: int | str, segments: Sequence[tuple[int, np.ndarray, bool]]
) -> dict[str, Any]:
    """Write category, mask and crowd of each as a picture of segment ids; return its annotation."""
    ids = np.zeros((SIDE, SIDE), dtype=np.int64)
    listed = []
    for position, (category, mask, crowd) in enumerate(segments, start=1):
        if not mask.any():
            continue
        number = 1000 * position + category
        ids[mask] = number
        facts = {"area": int(mask.sum()), "iscrowd": int(crowd)}
        listed.append({"id": number, "category_id": category, **facts})
    colours = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=2)
    Image.fromarray(colours.astype(np.uint8)).save(file)
    return {"image_id": image_id, "file_name": file.name, "segments_info": listed}
