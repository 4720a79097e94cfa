"""A generated FSS-1000: folders of a few drawn pictures, each around one object of its class."""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError
from data.fss1000 import TEST_LISTS
from data.parallel import parallel_map
from data.synthetic.drawing import random_scene
from data.synthetic.style import BENCHMARK_PAIRS, BENCHMARK_STYLE, SIDE, encode_jpeg, write_once

IMAGES = 10
"""Of each class, as in the data set."""


def write_fss1000(folder: Path, classes: int, seed: int = 0, workers: int | None = None) -> None:
    """Write an FSS-1000 folder of so many tested classes; a finished one is kept.

    Args:
        folder: appears when it is complete.
        classes: at most as many as there are pairs of shape and texture.

    Raises:
        UsageError: the folder holds something else, or there are too few or too many classes.
    """
    if not 1 <= classes <= len(BENCHMARK_PAIRS):
        raise UsageError(f"number of classes: 1 to {len(BENCHMARK_PAIRS)}, not {classes}")
    names = [f"{texture}_{shape}" for shape, texture in BENCHMARK_PAIRS[:classes]]
    pictures = [(place, number) for place in range(classes) for number in range(1, IMAGES + 1)]

    def draw(unfinished: Path) -> None:
        for name in names:
            (unfinished / name).mkdir()
        (unfinished / TEST_LISTS[0]).write_text("".join(f"{name}\n" for name in names))
        write = partial(_write_picture, folder=unfinished, names=names, seed=seed)
        parallel_map(write, pictures, workers=workers, description="drawing FSS-1000")

    description = {
        "benchmark": "fss1000",
        "generated": True,
        "classes": classes,
        "seed": seed,
        "side": SIDE,
    }
    first = Path(names[0], "1.jpg"), encode_jpeg(_draw((0, 1), seed)[0])
    write_once(folder, description, first, draw)


def _draw(picture: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene, SIDE x SIDE x 3, and where its class is, SIDE x SIDE bool."""
    place, number = picture
    # the first 5 keeps these scenes apart from those of other generated data
    random = np.random.default_rng((5, seed, place, number))
    target = BENCHMARK_PAIRS[place]
    others = [pair for pair in BENCHMARK_PAIRS if pair != target]
    instances, rendering = random_scene(random, SIDE, target, others, BENCHMARK_STYLE)
    own = [n for n, one in enumerate(instances, 1) if (one.shape, one.texture) == target]
    return rendering.image, np.isin(rendering.instances, own)


def _write_picture(picture: tuple[int, int], folder: Path, names: list[str], seed: int) -> None:
    image, mask = _draw(picture, seed)
    stem = folder / names[picture[0]] / str(picture[1])
    stem.with_suffix(".jpg").write_bytes(encode_jpeg(image))
    colours = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    Image.fromarray(colours).save(stem.with_suffix(".png"))  # FSS-1000's masks are in colour
