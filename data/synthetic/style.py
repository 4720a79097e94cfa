"""What all generated data share: size, style and classes, and folders that appear when complete."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.files import write_atomically
from data.classes import VOC_TO_COCO
from data.reader import DESCRIPTION_FILE
from data.synthetic.drawing import SHAPES, TEXTURES, SceneStyle

SIDE = 128
"""Side of the generated images, in pixels."""
BENCHMARK_STYLE = SceneStyle(radii=(0.15, 0.25), most_distractors=2, ground_contrast=0.5)
"""Objects cover about as much of a picture as in VOC; pre-training has smaller and more of them."""
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


def is_finished(folder: Path, description: dict[str, Any], file: Path, content: bytes) -> bool:
    """Whether the folder is complete and what would be drawn now.

    The first picture is compared too, so that pictures of an older way of drawing are noticed.
    """
    if not folder.exists():
        return False
    try:
        found = json.loads((folder / DESCRIPTION_FILE).read_text())
        same = found == description and (folder / file).read_bytes() == content
    except (OSError, ValueError):
        same = False
    if not same:
        raise UsageError(
            f"{folder} holds something else than the data to be generated: give another folder, "
            "or delete this one if it is not needed"
        )
    return True


def start_unfinished(folder: Path) -> Path:
    """The place to draw in, emptied of an interrupted attempt."""
    unfinished = folder.parent / f".{folder.name}.unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    return unfinished


def finish(unfinished: Path, folder: Path, description: dict[str, Any]) -> None:
    text = json.dumps(description, indent=1) + "\n"
    write_atomically(unfinished / DESCRIPTION_FILE, lambda path: path.write_text(text))
    unfinished.rename(folder)
