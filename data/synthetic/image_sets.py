"""Generated image benchmarks in the layouts of VOC and COCO, which the real readers read.

A class is a pair of shape and texture; a class of VOC is the same pair as COCO's category of that
name.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.coco_masks import mask_annotation
from common.images import IGNORED
from common.video_io import davis_palette
from data.classes import COCO_CATEGORY_IDS, COCO_CLASSES
from data.parallel import parallel_map
from data.synthetic.pictures import (
    SPLITS,
    Picture,
    describe_images,
    draw_picture,
    list_pictures,
)
from data.synthetic.style import COCO_PAIRS, SIDE, VOC_PAIRS, encode_jpeg, write_once


def _name(layout: str, picture: Picture) -> str:
    split = SPLITS[picture.split]
    if layout == "coco":
        return f"COCO_{split}2014_{picture.number + 1:012d}"
    return f"{split}_{picture.number + 1:06d}"


def _write_voc_picture(picture: Picture, folder: Path) -> None:
    drawn = draw_picture(picture, VOC_PAIRS)
    name = _name("voc", picture)
    (folder / "JPEGImages" / f"{name}.jpg").write_bytes(encode_jpeg(drawn.image))
    masks = {"SegmentationClassAug": drawn.class_mask(), "SegmentationObject": drawn.instances}
    for inner, values in masks.items():
        mask = Image.fromarray(np.where(drawn.mixed, IGNORED, values).astype(np.uint8), "P")
        mask.putpalette(davis_palette().tobytes())
        mask.save(folder / inner / f"{name}.png")


def _write_coco_picture(picture: Picture, folder: Path) -> list[dict[str, Any]]:
    """Write the image and its class mask; return its annotations but for their ids."""
    drawn = draw_picture(picture, COCO_PAIRS)
    name, split = _name("coco", picture), f"{SPLITS[picture.split]}2014"
    (folder / split / f"{name}.jpg").write_bytes(encode_jpeg(drawn.image))
    Image.fromarray(drawn.class_mask()).save(folder / "annotations" / split / f"{name}.png")
    annotations = []
    for position, class_id in enumerate(drawn.classes, start=1):
        visible = drawn.instances == position
        if not visible.any():
            continue
        category = COCO_CATEGORY_IDS[class_id]
        found = {"image_id": picture.number + 1, "category_id": category}
        annotations.append({**found, **mask_annotation(visible)})
    return annotations


def write_voc(
    folder: Path, images: Mapping[str, int], seed: int = 0, workers: int | None = None
) -> None:
    """Write a VOC2012 folder of 20 classes; a finished one of the same parameters is kept.

    Args:
        folder: the VOC2012 folder itself; it appears when it is complete.
        images: how many for "train" and "val".
        workers: processes; None takes one per processor. The files do not depend on it.

    Raises:
        UsageError: the folder holds something else.
    """
    pictures = list_pictures(images, seed)

    def draw(unfinished: Path) -> None:
        masks = ("SegmentationClassAug", "SegmentationObject")
        for inner in ("JPEGImages", *masks, "ImageSets/Segmentation"):
            (unfinished / inner).mkdir(parents=True)
        write = partial(_write_voc_picture, folder=unfinished)
        parallel_map(write, pictures, workers=workers, description="drawing VOC2012")
        for number, split in enumerate(SPLITS):
            names = [_name("voc", picture) for picture in pictures if picture.split == number]
            path = unfinished / "ImageSets" / "Segmentation" / f"{split}.txt"
            path.write_text("".join(f"{name}\n" for name in names))

    first = Path("JPEGImages", f"{_name('voc', pictures[0])}.jpg")
    content = encode_jpeg(draw_picture(pictures[0], VOC_PAIRS).image)
    write_once(folder, describe_images("pascal", VOC_PAIRS, images, seed), (first, content), draw)


def write_coco(
    folder: Path, images: Mapping[str, int], seed: int = 0, workers: int | None = None
) -> None:
    """Write a COCO2014 folder of 80 classes with class masks and instance annotations.

    The arguments and errors are those of `write_voc`.
    """
    pictures = list_pictures(images, seed)

    def draw(unfinished: Path) -> None:
        for split in SPLITS:
            (unfinished / f"{split}2014").mkdir()
            (unfinished / "annotations" / f"{split}2014").mkdir(parents=True)
        write = partial(_write_coco_picture, folder=unfinished)
        found = parallel_map(write, pictures, workers=workers, description="drawing COCO2014")
        for number, split in enumerate(SPLITS):
            mine = [(p, a) for p, a in zip(pictures, found, strict=True) if p.split == number]
            path = unfinished / "annotations" / f"instances_{split}2014.json"
            path.write_text(json.dumps(_instances(mine)))

    first = Path(f"{SPLITS[pictures[0].split]}2014", f"{_name('coco', pictures[0])}.jpg")
    content = encode_jpeg(draw_picture(pictures[0], COCO_PAIRS).image)
    write_once(folder, describe_images("coco", COCO_PAIRS, images, seed), (first, content), draw)


def _instances(found: Sequence[tuple[Picture, list[dict[str, Any]]]]) -> dict[str, Any]:
    """The annotation file of one split, as COCO's are built."""
    annotations = [annotation for _, some in found for annotation in some]
    return {
        "images": [
            {
                "id": picture.number + 1,
                "file_name": f"{_name('coco', picture)}.jpg",
                "height": SIDE,
                "width": SIDE,
            }
            for picture, _ in found
        ],
        "annotations": [{"id": n, **a} for n, a in enumerate(annotations, start=1)],
        "categories": [{"id": COCO_CATEGORY_IDS[c], "name": n} for c, n in COCO_CLASSES.items()],
    }
