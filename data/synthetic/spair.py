"""A generated SPair-71k: pairs of drawn scenes, with the corners of the same shape in both."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UsageError
from data.parallel import parallel_map
from data.spair import SPLITS
from data.synthetic.drawing import Instance, random_scene
from data.synthetic.shapes import SHAPES
from data.synthetic.style import (
    BENCHMARK_PAIRS,
    BENCHMARK_STYLE,
    SIDE,
    encode_jpeg,
    write_once,
)

PICTURES = 4
"""Of each category and split; each is paired with every other."""
_PLACES = 8
"""Places on a contour, numbered, of which a picture shows some."""
_INSIDE = 0.85
"""How far out on the way to the contour a place lies."""


@dataclass(frozen=True)
class _Picture:
    """One file to draw; it depends on nothing else."""

    seed: int
    split: int
    category: int
    number: int

    @property
    def name(self) -> str:
        return f"{SPLITS[self.split]}_{self.number:03d}"


def write_spair(folder: Path, categories: int, seed: int = 0, workers: int | None = None) -> None:
    """Write an SPair-71k folder of so many categories; a finished one is kept.

    Args:
        folder: appears when it is complete.

    Raises:
        UsageError: the folder holds something else, or there are too few or too many categories.
    """
    if not 1 <= categories <= len(BENCHMARK_PAIRS):
        raise UsageError(f"number of categories: 1 to {len(BENCHMARK_PAIRS)}, not {categories}")
    pictures = [
        _Picture(seed, split, category, number)
        for split in range(len(SPLITS))
        for category in range(categories)
        for number in range(PICTURES)
    ]

    def draw(unfinished: Path) -> None:
        for category in range(categories):
            (unfinished / "JPEGImages" / _category(category)).mkdir(parents=True)
        write = partial(_write_picture, folder=unfinished)
        shown = parallel_map(write, pictures, workers=workers, description="drawing SPair-71k")
        _write_pairs(unfinished, dict(zip(pictures, shown, strict=True)))

    description = {
        "benchmark": "spair71k",
        "generated": True,
        "categories": categories,
        "seed": seed,
        "side": SIDE,
    }
    first = Path("JPEGImages", _category(0), f"{pictures[0].name}.jpg")
    write_once(folder, description, (first, encode_jpeg(_draw(pictures[0])[0])), draw)


def _category(number: int) -> str:
    shape, texture = BENCHMARK_PAIRS[number]
    return f"{texture}_{shape}"


@dataclass(frozen=True)
class _Shown:
    """What a picture shows of an object of its category."""

    places: dict[int, list[float]]
    """Number -> x and y, of those that are seen."""
    box: list[float]
    """Left, top, right and bottom of what is seen of it."""


def _draw(picture: _Picture) -> tuple[np.ndarray, _Shown]:
    """A scene, SIDE x SIDE x 3, and what it shows."""
    # the first 8 keeps these scenes apart from those of other generated data
    random = np.random.default_rng(
        (8, picture.seed, picture.split, picture.category, picture.number)
    )
    target = BENCHMARK_PAIRS[picture.category]
    others = [pair for pair in BENCHMARK_PAIRS if pair != target]
    instances, rendering = random_scene(random, SIDE, target, others, BENCHMARK_STYLE)
    position = next(n for n, one in enumerate(instances) if (one.shape, one.texture) == target)
    seen = {}
    for number, (x, y) in enumerate(_places(instances[position])):
        inside = 0 <= x < SIDE and 0 <= y < SIDE
        if inside and rendering.instances[int(y), int(x)] == position + 1:
            seen[number] = [float(x), float(y)]
    rows, columns = np.nonzero(rendering.instances == position + 1)
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return rendering.image, _Shown(seen, [float(edge) for edge in edges])


def _places(instance: Instance) -> np.ndarray:
    """Numbered places near the contour of an object, x and y, P x 2."""
    contour = _INSIDE * SHAPES[instance.shape][0]
    chosen = contour[np.linspace(0, len(contour), _PLACES, endpoint=False).astype(int)]
    cosine, sine = np.cos(instance.angle), np.sin(instance.angle)
    stretch = np.sqrt(instance.aspect)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    return (chosen * (stretch, 1 / stretch)) @ rotation.T * instance.radius + instance.centre


def _write_picture(picture: _Picture, folder: Path) -> _Shown:
    image, shown = _draw(picture)
    path = folder / "JPEGImages" / _category(picture.category) / f"{picture.name}.jpg"
    path.write_bytes(encode_jpeg(image))
    return shown


def _write_pairs(folder: Path, shown: dict[_Picture, _Shown]) -> None:
    """Write every pair of pictures of a category that have a place in common, and the lists."""
    for split, split_name in enumerate(SPLITS):
        (folder / "PairAnnotation" / split_name).mkdir(parents=True)
        mine = [picture for picture in shown if picture.split == split]
        names = []
        for source in mine:
            for target in mine:
                common = sorted(shown[source].places.keys() & shown[target].places.keys())
                if source == target or source.category != target.category or not common:
                    continue
                category = _category(source.category)
                names.append(f"{len(names):06d}-{source.name}-{target.name}:{category}")
                facts = _pair(category, (source, target), common, shown)
                path = folder / "PairAnnotation" / split_name / f"{names[-1]}.json"
                path.write_text(json.dumps(facts))
        for layout in ("large", "small"):
            path = folder / "Layout" / layout / f"{split_name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            listed = names if layout == "large" else names[::3]
            path.write_text("".join(f"{name}\n" for name in listed))


def _pair(
    category: str,
    pictures: tuple[_Picture, _Picture],
    common: list[int],
    shown: dict[_Picture, _Shown],
) -> dict[str, object]:
    """The content of a pair's file: of source and target, what is common to them."""
    facts: dict[str, object] = {"category": category, "kps_ids": [str(n) for n in common]}
    for prefix, picture in zip(("src", "trg"), pictures, strict=True):
        places = shown[picture].places
        facts |= {
            f"{prefix}_imname": f"{picture.name}.jpg",
            f"{prefix}_imsize": [SIDE, SIDE, 3],
            f"{prefix}_bndbox": shown[picture].box,
            f"{prefix}_kps": [places[number] for number in common],
        }
    return facts
