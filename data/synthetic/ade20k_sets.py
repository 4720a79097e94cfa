"""Generated pictures with several objects each, in the layouts of ADE20K and Objects365.

ADE20K has the classes that mean a category of COCO, drawn as that one is; Objects365 has
boxes only.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.coco_masks import mask_annotation
from data.classes import COCO_CLASSES
from data.parallel import parallel_map
from data.synthetic.objects import (
    image_id,
    listed_image,
    numbered,
    offset_pictures,
    visible_objects,
    write_segments,
)
from data.synthetic.pictures import SPLITS, Picture, describe_images, draw_picture
from data.synthetic.style import COCO_PAIRS, encode_jpeg, write_once

ADE20K_CLASSES: dict[str, tuple[int, str]] = {
    "bed": (8, "bed"),
    "person": (13, "person, individual, someone, somebody, mortal, soul"),
    "chair": (20, "chair"),
    "car": (21, "car, auto, automobile, machine, motorcar"),
    "couch": (24, "sofa, couch, lounge"),
    "sink": (48, "sink"),
    "refrigerator": (51, "refrigerator, icebox"),
    "toilet": (66, "toilet, can, commode, crapper, pot, potty, stool, throne"),
    "book": (68, "book"),
    "bench": (70, "bench"),
    "boat": (77, "boat"),
    "truck": (84, "truck, motortruck"),
    "tv": (90, "television receiver, television, television set, tv, tv set"),
    "airplane": (91, "airplane, aeroplane, plane"),
    "bottle": (99, "bottle"),
    "motorcycle": (117, "minibike, motorbike"),
    "oven": (119, "oven"),
    "microwave": (125, "microwave, microwave oven"),
    "bicycle": (128, "bicycle, bike, wheel, cycle"),
    "vase": (136, "vase"),
    "traffic light": (137, "traffic light, traffic signal, stoplight"),
    "clock": (149, "clock"),
}
"""COCO's name -> number and names in ADE20K, of the classes that are drawn there."""
_WALL = 1
"""The class of ADE20K that the background has."""
_ADE20K_SPLITS = {"train": "training", "val": "validation"}
_ADE20K_PAIRS = {
    ADE20K_CLASSES[name][0]: COCO_PAIRS[number]
    for number, name in COCO_CLASSES.items()
    if name in ADE20K_CLASSES
}


def write_ade20k(
    folder: Path, images: Mapping[str, int], seed: int = 0, workers: int | None = None
) -> None:
    """Write an ADEChallengeData2016 folder with class masks and segments.

    The arguments and errors are those of `write_coco2017`.
    """
    pictures = offset_pictures("ade20k", images, seed)

    def draw(unfinished: Path) -> None:
        for split in SPLITS:
            for inner in ("images", "annotations"):
                (unfinished / inner / _ADE20K_SPLITS[split]).mkdir(parents=True)
            (unfinished / f"ade20k_panoptic_{split}").mkdir()
        (unfinished / "objectInfo150.txt").write_text(_ade20k_table())
        write = partial(_write_ade20k_picture, folder=unfinished)
        found = parallel_map(write, pictures, workers=workers, description="drawing ADE20K")
        for number, split in enumerate(SPLITS):
            own = [p for p in pictures if p.split == number]
            content = {
                "images": [
                    {**listed_image(p, f"{_ade20k_name(p)}.jpg"), "id": _ade20k_name(p)}
                    for p in own
                ],
                "annotations": [s for p, s in zip(pictures, found, strict=True) if p in own],
                "categories": [
                    {"id": c - 1, "name": names.split(",")[0], "isthing": int(c != _WALL)}
                    for c, names in sorted([*ADE20K_CLASSES.values(), (_WALL, "wall")])
                ],
            }
            (unfinished / f"ade20k_panoptic_{split}.json").write_text(json.dumps(content))

    first = pictures[0]
    place = Path("images", _ADE20K_SPLITS[SPLITS[first.split]], f"{_ade20k_name(first)}.jpg")
    content = encode_jpeg(draw_picture(first, _ADE20K_PAIRS).image)
    description = describe_images("ade20k", _ADE20K_PAIRS, images, seed)
    write_once(folder, description, (place, content), draw)


def write_objects365(
    folder: Path, images: Mapping[str, int], seed: int = 0, workers: int | None = None
) -> None:
    """Write an Objects365 folder of which only training pictures are drawn, with boxes alone.

    The arguments and errors are those of `write_coco2017`.
    """
    pictures = offset_pictures("objects365", {"train": images["train"]}, seed)

    def draw(unfinished: Path) -> None:
        (unfinished / "train" / "patch0").mkdir(parents=True)
        (unfinished / "annotations").mkdir()
        write = partial(_write_objects365_picture, folder=unfinished)
        found = parallel_map(write, pictures, workers=workers, description="drawing Objects365")
        content = {
            "images": [
                listed_image(p, f"images/v1/patch0/{_objects365_name(p)}") for p in pictures
            ],
            "annotations": numbered([one for some in found for one in some], 0),
            "categories": [{"id": c, "name": n.title()} for c, n in COCO_CLASSES.items()],
        }
        file = unfinished / "annotations" / "zhiyuan_objv2_train.json"
        file.write_text(json.dumps(content))

    place = Path("train", "patch0", _objects365_name(pictures[0]))
    content = encode_jpeg(draw_picture(pictures[0], COCO_PAIRS).image)
    description = describe_images("objects365", COCO_PAIRS, {"train": images["train"]}, seed)
    write_once(folder, description, (place, content), draw)


def _ade20k_name(picture: Picture) -> str:
    return f"ADE_{SPLITS[picture.split]}_{image_id(picture):08d}"


def _ade20k_table() -> str:
    """objectInfo150.txt; classes that are not drawn have made-up names."""
    names = dict(ADE20K_CLASSES.values()) | {_WALL: "wall"}
    rows = (f"{n}\t0.0\t0\t0\t0\t{names.get(n, f'undrawn {n}')}\n" for n in range(1, 151))
    return "Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "".join(rows)


def _write_ade20k_picture(picture: Picture, folder: Path) -> dict[str, Any]:
    """Write a picture, its class mask and its segments; return the segments' annotation."""
    drawn, split = draw_picture(picture, _ADE20K_PAIRS), SPLITS[picture.split]
    name, inner = _ade20k_name(picture), _ADE20K_SPLITS[split]
    (folder / "images" / inner / f"{name}.jpg").write_bytes(encode_jpeg(drawn.image))
    labels = np.where(drawn.instances == 0, _WALL, drawn.class_mask()).astype(np.uint8)
    Image.fromarray(labels).save(folder / "annotations" / inner / f"{name}.png")
    segments = [(one.class_id - 1, one.mask, False) for one in visible_objects(drawn)]
    segments.append((_WALL - 1, drawn.instances == 0, False))
    return write_segments(folder / f"ade20k_panoptic_{split}" / f"{name}.png", name, segments)


def _objects365_name(picture: Picture) -> str:
    return f"objects365_v1_{image_id(picture):08d}.jpg"


def _write_objects365_picture(picture: Picture, folder: Path) -> list[dict[str, Any]]:
    """Write a picture; return its boxes."""
    drawn = draw_picture(picture, COCO_PAIRS)
    (folder / "train" / "patch0" / _objects365_name(picture)).write_bytes(encode_jpeg(drawn.image))
    return [
        {
            "image_id": image_id(picture),
            "category_id": one.class_id,
            "bbox": mask_annotation(one.mask)["bbox"],
            "area": int(one.mask.sum()),
            "iscrowd": 0,
        }
        for one in visible_objects(drawn)
    ]
