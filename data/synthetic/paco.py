"""A generated PACO and PASCAL-Part: drawn objects whose parts are their core and their rim."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.coco_masks import mask_annotation
from common.errors import UsageError
from data.parallel import parallel_map
from data.parts import ANNOTATIONS, PASCAL_GROUPS
from data.synthetic.drawing import random_scene
from data.synthetic.style import (
    BENCHMARK_PAIRS,
    BENCHMARK_STYLE,
    SIDE,
    encode_jpeg,
    write_once,
)

_PARTS = ("core", "rim")
_CORE = 0.5
"""How far from an object's middle its core reaches, in radii."""
_FIRST = {"train": 100_000, "val": 0}
"""Where the pictures of a split begin to be counted."""


def write_paco(
    folder: Path, classes: int, images: int, seed: int = 0, workers: int | None = None
) -> None:
    """Write a PACO folder with pictures of its own; a finished one is kept.

    Args:
        folder: appears when it is complete.
        classes: of objects, each of which has two parts; at least 3.
        images: how many pictures to train on, and how many to test on.

    Raises:
        UsageError: the folder holds something else, or there are too few or too many classes.
    """
    if not 3 <= classes <= len(BENCHMARK_PAIRS):
        raise UsageError(f"number of classes: 3 to {len(BENCHMARK_PAIRS)}, not {classes}")

    def draw(unfinished: Path) -> None:
        write = partial(_write_picture, folder=unfinished, classes=classes, seed=seed)
        for split, first in _FIRST.items():
            (unfinished / f"{split}2017").mkdir(parents=True)
            numbers = range(first, first + images)
            found = parallel_map(write, numbers, workers=workers, description="drawing PACO")
            content = _content(dict(zip(numbers, found, strict=True)), classes)
            (unfinished / ANNOTATIONS.format(split)).write_text(json.dumps(content))

    description = {
        "benchmark": "paco_part",
        "generated": True,
        "classes": classes,
        "images": images,
        "seed": seed,
        "side": SIDE,
    }
    first = Path(_file_name(0)), encode_jpeg(_draw(0, classes, seed)[0])
    write_once(folder, description, first, draw)


def write_pascal_part(
    folder: Path, classes: int, images: int, seed: int = 0, workers: int | None = None
) -> None:
    """Write a PASCAL-Part folder with pictures of its own; a finished one is kept.

    Args:
        folder: appears when it is complete.
        classes: of objects, each of which has two parts and is in one of the four groups; at least
            4.
        images: how many training pictures, and how many validation pictures.

    Raises:
        UsageError: the folder holds something else, or there are too few or too many classes.
    """
    if not 4 <= classes <= len(BENCHMARK_PAIRS):
        raise UsageError(f"number of classes: 4 to {len(BENCHMARK_PAIRS)}, not {classes}")

    def draw(unfinished: Path) -> None:
        (unfinished / "JPEGImages").mkdir(parents=True)
        write = partial(
            _write_picture, folder=unfinished, classes=classes, seed=seed, name=_voc_name
        )
        for split, first in _FIRST.items():
            numbers = range(first, first + images)
            found = parallel_map(write, numbers, workers=workers, description="drawing PASCAL-Part")
            for fold, group in enumerate(PASCAL_GROUPS):
                own = {
                    number: [(c, some) for c, some in shown if c % len(PASCAL_GROUPS) == fold]
                    for number, shown in zip(numbers, found, strict=True)
                }
                shown = {number: some for number, some in own.items() if some}
                content = _content(shown, classes, name=lambda n: Path(_voc_name(n)).name)
                (unfinished / f"{group}_{split}.json").write_text(json.dumps(content))

    description = {
        "benchmark": "pascal_part",
        "generated": True,
        "classes": classes,
        "images": images,
        "seed": seed,
        "side": SIDE,
    }
    first = Path(_voc_name(0)), encode_jpeg(_draw(0, classes, seed)[0])
    write_once(folder, description, first, draw)


def _voc_name(number: int) -> str:
    return f"JPEGImages/2010_{number + 1:06d}.jpg"


def _file_name(number: int) -> str:
    split = "train" if number >= _FIRST["train"] else "val"
    return f"{split}2017/{number + 1:012d}.jpg"


def _draw(number: int, classes: int, seed: int) -> tuple[np.ndarray, list[tuple[int, list]]]:
    """A scene, and of each object that is seen: its class, and the masks of it and its parts."""
    # the first 9 keeps these scenes apart from those of other generated data
    random = np.random.default_rng((9, seed, number))
    pairs = BENCHMARK_PAIRS[:classes]
    target = pairs[number % classes]
    others = [pair for pair in pairs if pair != target]
    instances, rendering = random_scene(random, SIDE, target, others, BENCHMARK_STYLE)
    rows, columns = np.indices((SIDE, SIDE))
    found = []
    for position, one in enumerate(instances, start=1):
        mask = rendering.instances == position
        x, y = one.centre
        core = np.hypot(columns + 0.5 - x, rows + 0.5 - y) < _CORE * one.radius
        if mask.any():
            class_id = pairs.index((one.shape, one.texture))
            found.append((class_id, [mask, mask & core, mask & ~core]))
    return rendering.image, found


def _write_picture(
    number: int,
    folder: Path,
    classes: int,
    seed: int,
    name: Callable[[int], str] = _file_name,
) -> list[tuple[int, list[dict[str, Any] | None]]]:
    """Write a picture; return what is said of each object and of its parts that are seen."""
    image, found = _draw(number, classes, seed)
    (folder / name(number)).write_bytes(encode_jpeg(image))
    return [
        (class_id, [mask_annotation(mask) if mask.any() else None for mask in masks])
        for class_id, masks in found
    ]


def _content(
    found: Mapping[int, list[tuple[int, list[dict[str, Any] | None]]]],
    classes: int,
    name: Callable[[int], str] = _file_name,
) -> dict[str, Any]:
    """The annotation file, as PACO's are built: objects first, each with its parts after it."""
    objects = [f"{texture}_{shape}" for shape, texture in BENCHMARK_PAIRS[:classes]]
    names = [*objects, *(f"{name}:{part}" for name in objects for part in _PARTS)]
    annotations: list[dict[str, Any]] = []
    for number, shown in found.items():
        for class_id, (whole, *parts) in shown:
            owner = len(annotations) + 1
            own = [(class_id + 1, whole)]
            own += [(classes + 2 * class_id + n + 1, part) for n, part in enumerate(parts)]
            for category, facts in own:
                if facts is not None:
                    ids = {"id": len(annotations) + 1, "obj_ann_id": owner}
                    annotations.append(
                        {**ids, "image_id": number + 1, "category_id": category, **facts}
                    )
    return {
        "images": [
            {
                "id": n + 1,
                "file_name": name(n),
                "height": SIDE,
                "width": SIDE,
            }
            for n in found
        ],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
    }
