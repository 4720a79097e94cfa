"""Generated copies of PC-459 and A-847: drawn scenes with a class in every pixel, in 16 bits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError
from data.parallel import parallel_map
from data.semantic import LAYOUTS, WIDE_IGNORED, Part
from data.synthetic.drawing import random_scene
from data.synthetic.style import (
    BENCHMARK_PAIRS,
    BENCHMARK_STYLE,
    MIN_PIXELS,
    SIDE,
    encode_jpeg,
    write_once,
)

PARTS: tuple[Part, ...] = ("training", "validation")


@dataclass(frozen=True)
class _Picture:
    """One file to draw; a picture depends on nothing else."""

    seed: int
    part: Part
    number: int
    classes: int

    @property
    def name(self) -> str:
        return f"{self.part}_{self.number + 1:06d}"

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """A scene, SIDE x SIDE x 3 uint8, and its stored mask, SIDE x SIDE uint16."""
        # the first 7 keeps these scenes apart from those of other generated data
        random = np.random.default_rng((7, self.seed, PARTS.index(self.part), self.number))
        pairs = BENCHMARK_PAIRS[: self.classes]
        target = pairs[self.number % len(pairs)]
        others = [pair for pair in pairs if pair != target]
        instances, rendering = random_scene(random, SIDE, target, others, BENCHMARK_STYLE)
        values = [pairs.index((one.shape, one.texture)) for one in instances]
        mask = np.array([WIDE_IGNORED, *values], dtype=np.uint16)[rendering.instances]
        return rendering.image, np.where(rendering.mixed, WIDE_IGNORED, mask).astype(np.uint16)


def write_wide_set(
    benchmark: str,
    folder: Path,
    classes: int,
    images: Mapping[str, int],
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write a folder in the layout of "pc459" or "a847"; a finished one is kept.

    Args:
        folder: VOC2010 or ADE20K_2021_17_01 itself; it appears when it is complete.
        classes: how many, at least 3.
        images: how many for "train" and "val".

    Raises:
        UsageError: the folder holds something else, or there are too few or too many classes.
    """
    if not 3 <= classes <= len(BENCHMARK_PAIRS):
        raise UsageError(f"number of classes: 3 to {len(BENCHMARK_PAIRS)}, not {classes}")
    counts = dict(zip(PARTS, (images["train"], images["val"]), strict=True))
    pictures = [
        _Picture(seed, part, number, classes) for part in PARTS for number in range(counts[part])
    ]

    def draw(unfinished: Path) -> None:
        layout = LAYOUTS[benchmark]
        for inner in {*layout.images.values(), *layout.masks.values()}:
            (unfinished / inner).mkdir(parents=True)
        names = [f"{texture} {shape}\n" for shape, texture in BENCHMARK_PAIRS[:classes]]
        (unfinished / "classes.txt").write_text("".join(names))
        write = partial(_write_picture, folder=unfinished, benchmark=benchmark)
        parallel_map(write, pictures, workers=workers, description=f"drawing {benchmark}")

    description = {
        "benchmark": benchmark,
        "generated": True,
        "classes": classes,
        "images": counts,
        "seed": seed,
        "side": SIDE,
        "min_pixels": MIN_PIXELS,
    }
    first = pictures[0]
    place = Path(LAYOUTS[benchmark].images[first.part], f"{first.name}.jpg")
    write_once(folder, description, (place, encode_jpeg(first.draw()[0])), draw)


def _write_picture(picture: _Picture, folder: Path, benchmark: str) -> None:
    layout = LAYOUTS[benchmark]
    image, mask = picture.draw()
    place = folder / layout.images[picture.part] / f"{picture.name}.jpg"
    place.write_bytes(encode_jpeg(image))
    Image.fromarray(mask).save(folder / layout.masks[picture.part] / f"{picture.name}.tif")
