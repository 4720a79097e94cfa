"""What all generated data share: size, style and classes, and folders that appear when complete."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.files import parse_json, write_atomically
from data.classes import VOC_TO_COCO
from data.reader import DESCRIPTION_FILE
from data.synthetic.drawing import SceneStyle
from data.synthetic.shapes import SHAPES, TEXTURES

SIDE = 128
"""Side of the generated images, in pixels."""
DEMO_IMAGES = {
    "voc": {"train": 2400, "val": 800},
    "coco": {"train": 1600, "val": 400},
    "coco2017": {"train": 1600, "val": 400},
    "ade20k": {"train": 400, "val": 100},
    "objects365": {"train": 400, "val": 0},
}
"""How many images the demos train and test on, and are drawn unless others are asked for."""
DEMO_VIDEOS, DEMO_FRAMES = 24, 16
"""How many videos the demo of videos tests on, and frames of each; drawn by default as well."""
BENCHMARK_STYLE = SceneStyle(radii=(0.15, 0.25), most_distractors=2, ground_contrast=0.5)
"""Objects cover about as much of a picture as in VOC; pre-training has smaller and more of them."""
CROWDED_STYLE = SceneStyle(
    radii=(0.1, 0.19),
    most_distractors=6,
    counts=(0.3, 0.4, 0.3),
    distractor_counts=(0.7, 0.3),
    ground_contrast=0.5,
)
"""More and smaller objects of more classes, often several of one, as in pictures of COCO."""
MIN_PIXELS = 2 * (SIDE // 16) ** 2
"""Stands for the 2 * 32 * 32 pixels of real images: the same part of the picture at 512 x 512."""
JPEG_QUALITY = 95


def _pairs(offsets: range) -> list[tuple[str, str]]:
    shapes, textures = list(SHAPES), list(TEXTURES)
    return [
        (shape, textures[(position + offset) % len(textures)])
        for offset in offsets
        for position, shape in enumerate(shapes)
    ]


PRETRAINING_PAIRS = _pairs(range(5))
"""The 60 pairs on which the tiny foundation models are trained, and nothing else is."""
BENCHMARK_PAIRS = _pairs(range(5, 12))[:80]
"""The class of COCO category c (1 to 80) at position c - 1; VOC's classes are 20 of them."""

VOC_PAIRS: dict[int, tuple[str, str]] = {
    voc: BENCHMARK_PAIRS[coco - 1] for voc, coco in VOC_TO_COCO.items()
}
COCO_PAIRS: dict[int, tuple[str, str]] = dict(enumerate(BENCHMARK_PAIRS, start=1))


def encode_jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def write_once(
    folder: Path,
    description: dict[str, Any],
    first: tuple[Path, bytes],
    draw: Callable[[Path], None],
) -> None:
    """Make a folder that appears when it is complete; a complete one of the same data is kept.

    Args:
        description: what is drawn, for the folder's description file.
        first: the first picture's place in the folder and its content. It is compared too, so
            that pictures of an older way of drawing are noticed.
        draw: fills the folder, which it makes.

    Raises:
        UsageError: the folder holds something else.
    """
    if folder.exists():
        try:
            found = parse_json((folder / DESCRIPTION_FILE).read_text())
            same = found == description and (folder / first[0]).read_bytes() == first[1]
        except (OSError, ValueError):
            same = False
        if not same:
            raise UsageError(
                f"{folder} holds something else than the data to be generated: give another "
                "folder, or delete this one if it is not needed"
            )
        return
    unfinished = folder.parent / f".{folder.name}.unfinished"
    try:
        if unfinished.exists():  # an interrupted attempt
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
        draw(unfinished)
        text = json.dumps(description, indent=1) + "\n"
        write_atomically(unfinished / DESCRIPTION_FILE, lambda path: path.write_text(text))
        unfinished.rename(folder)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error}") from error
