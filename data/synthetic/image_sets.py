"""Generated image benchmarks in the layouts of VOC and COCO, which the real readers read.

A class is a pair of shape and texture; a class of VOC is the same pair as COCO's category of that
name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.coco_masks import mask_annotation
from common.errors import UsageError
from common.images import IGNORED
from common.video_io import davis_palette
from data.classes import COCO_CATEGORY_IDS, COCO_CLASSES
from data.parallel import parallel_map
from data.synthetic.drawing import random_scene
from data.synthetic.style import (
    BENCHMARK_STYLE,
    COCO_PAIRS,
    MIN_PIXELS,
    SIDE,
    VOC_PAIRS,
    encode_jpeg,
    write_once,
)

_SPLITS = ("train", "val")


@dataclass(frozen=True)
class _Picture:
    """One file to draw; a picture depends on nothing else."""

    seed: int
    split: int
    number: int


@dataclass(frozen=True)
class _Drawn:
    """A picture before it is encoded."""

    image: np.ndarray
    """SIDE x SIDE x 3 uint8 RGB."""
    instances: np.ndarray
    """SIDE x SIDE; 0 for the background, else 1 + the position in `classes`."""
    mixed: np.ndarray
    """SIDE x SIDE bool: pixels on outlines."""
    classes: list[int]
    """Class id of every instance."""

    def class_mask(self) -> np.ndarray:
        return np.array([0, *self.classes], dtype=np.uint8)[self.instances]


def _draw(picture: _Picture, pairs: Mapping[int, tuple[str, str]]) -> _Drawn:
    """Draw a scene around the picture's own class; the classes take turns."""
    random = np.random.default_rng((picture.seed, picture.split, picture.number))
    target = list(pairs.values())[picture.number % len(pairs)]
    others = [pair for pair in pairs.values() if pair != target]
    instances, rendering = random_scene(random, SIDE, target, others, BENCHMARK_STYLE)
    class_of = {pair: number for number, pair in pairs.items()}
    classes = [class_of[instance.shape, instance.texture] for instance in instances]
    return _Drawn(rendering.image, rendering.instances, rendering.mixed, classes)


def _name(layout: str, picture: _Picture) -> str:
    split = _SPLITS[picture.split]
    if layout == "coco":
        return f"COCO_{split}2014_{picture.number + 1:012d}"
    return f"{split}_{picture.number + 1:06d}"


def _write_voc_picture(picture: _Picture, folder: Path) -> None:
    drawn = _draw(picture, VOC_PAIRS)
    name = _name("voc", picture)
    (folder / "JPEGImages" / f"{name}.jpg").write_bytes(encode_jpeg(drawn.image))
    masks = {"SegmentationClassAug": drawn.class_mask(), "SegmentationObject": drawn.instances}
    for inner, values in masks.items():
        mask = Image.fromarray(np.where(drawn.mixed, IGNORED, values).astype(np.uint8), "P")
        mask.putpalette(davis_palette().tobytes())
        mask.save(folder / inner / f"{name}.png")


def _write_coco_picture(picture: _Picture, folder: Path) -> list[dict[str, Any]]:
    """Write the image and its class mask; return its annotations but for their ids."""
    drawn = _draw(picture, COCO_PAIRS)
    name, split = _name("coco", picture), f"{_SPLITS[picture.split]}2014"
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
    pictures = _pictures(images, seed)

    def draw(unfinished: Path) -> None:
        masks = ("SegmentationClassAug", "SegmentationObject")
        for inner in ("JPEGImages", *masks, "ImageSets/Segmentation"):
            (unfinished / inner).mkdir(parents=True)
        write = partial(_write_voc_picture, folder=unfinished)
        parallel_map(write, pictures, workers=workers, description="drawing VOC2012")
        for number, split in enumerate(_SPLITS):
            names = [_name("voc", picture) for picture in pictures if picture.split == number]
            path = unfinished / "ImageSets" / "Segmentation" / f"{split}.txt"
            path.write_text("".join(f"{name}\n" for name in names))

    first = Path("JPEGImages", f"{_name('voc', pictures[0])}.jpg")
    content = encode_jpeg(_draw(pictures[0], VOC_PAIRS).image)
    write_once(folder, _description("pascal", VOC_PAIRS, images, seed), (first, content), draw)


def write_coco(
    folder: Path, images: Mapping[str, int], seed: int = 0, workers: int | None = None
) -> None:
    """Write a COCO2014 folder of 80 classes with class masks and instance annotations.

    The arguments and errors are those of `write_voc`.
    """
    pictures = _pictures(images, seed)

    def draw(unfinished: Path) -> None:
        for split in _SPLITS:
            (unfinished / f"{split}2014").mkdir()
            (unfinished / "annotations" / f"{split}2014").mkdir(parents=True)
        write = partial(_write_coco_picture, folder=unfinished)
        found = parallel_map(write, pictures, workers=workers, description="drawing COCO2014")
        for number, split in enumerate(_SPLITS):
            mine = [(p, a) for p, a in zip(pictures, found, strict=True) if p.split == number]
            path = unfinished / "annotations" / f"instances_{split}2014.json"
            path.write_text(json.dumps(_instances(mine)))

    first = Path(f"{_SPLITS[pictures[0].split]}2014", f"{_name('coco', pictures[0])}.jpg")
    content = encode_jpeg(_draw(pictures[0], COCO_PAIRS).image)
    write_once(folder, _description("coco", COCO_PAIRS, images, seed), (first, content), draw)


def _instances(found: Sequence[tuple[_Picture, list[dict[str, Any]]]]) -> dict[str, Any]:
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


def _pictures(images: Mapping[str, int], seed: int) -> list[_Picture]:
    if (
        set(images) - set(_SPLITS)
        or min(images.values(), default=0) < 0
        or not sum(images.values())
    ):
        raise UsageError(f"number of images: a positive one for train and val, not {dict(images)}")
    return [
        _Picture(seed, split, number)
        for split, name in enumerate(_SPLITS)
        for number in range(images.get(name, 0))
    ]


def _description(
    benchmark: str, pairs: Mapping[int, tuple[str, str]], images: Mapping[str, int], seed: int
) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "generated": True,
        "images": {split: images.get(split, 0) for split in _SPLITS},
        "seed": seed,
        "side": SIDE,
        "min_pixels": MIN_PIXELS,
        "class_names": {str(number): f"{t} {s}" for number, (s, t) in pairs.items()},
    }
