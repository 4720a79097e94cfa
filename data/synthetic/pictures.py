"""Generated pictures: which there are, and how one is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UsageError
from data.synthetic.drawing import SceneStyle, random_scene
from data.synthetic.style import BENCHMARK_STYLE, MIN_PIXELS, SIDE

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Picture:
    """One file to draw; a picture depends on nothing else."""

    seed: int
    split: int
    number: int


@dataclass(frozen=True)
class Drawn:
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


def draw_picture(
    picture: Picture, pairs: Mapping[int, tuple[str, str]], style: SceneStyle = BENCHMARK_STYLE
) -> Drawn:
    """Draw a scene around the picture's own class; the classes take turns."""
    random = np.random.default_rng((picture.seed, picture.split, picture.number))
    target = list(pairs.values())[picture.number % len(pairs)]
    others = [pair for pair in pairs.values() if pair != target]
    instances, rendering = random_scene(random, SIDE, target, others, style)
    class_of = {pair: number for number, pair in pairs.items()}
    classes = [class_of[instance.shape, instance.texture] for instance in instances]
    return Drawn(rendering.image, rendering.instances, rendering.mixed, classes)


def list_pictures(images: Mapping[str, int], seed: int) -> list[Picture]:
    if set(images) - set(SPLITS) or min(images.values(), default=0) < 0 or not sum(images.values()):
        raise UsageError(f"number of images: a positive one for train and val, not {dict(images)}")
    return [
        Picture(seed, split, number)
        for split, name in enumerate(SPLITS)
        for number in range(images.get(name, 0))
    ]


def describe_images(
    benchmark: str, pairs: Mapping[int, tuple[str, str]], images: Mapping[str, int], seed: int
) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "generated": True,
        "images": {split: images.get(split, 0) for split in SPLITS},
        "seed": seed,
        "side": SIDE,
        "min_pixels": MIN_PIXELS,
        "class_names": {str(number): f"{t} {s}" for number, (s, t) in pairs.items()},
    }
