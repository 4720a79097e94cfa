"""Generated examples that make the page useful at once; they are drawn when the page starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.video_io import VideoWriter
from common.visualize import SUPPORT_COLOUR, overlay
from data.synthetic.clips import random_clip
from data.synthetic.drawing import random_scene
from data.synthetic.style import BENCHMARK_STYLE
from page.drawing import fitted
from page.results import BROWSER_CODEC

SIDE = 384
"""Of the drawn pictures, in pixels."""
FRAMES = 36
"""Of the drawn video."""

Pair = tuple[str, str]
"""Shape and texture: what makes a class of the generated pictures."""

Drawn = tuple[np.ndarray, np.ndarray]
"""A picture, H x W x 3 uint8, and where it shows the pair, H x W bool."""

BRICKS, BARS, FLOWERS, STARS = PAIRS = {
    ("square", "bricks"): "brick square",
    ("bar", "dots"): "dotted bar",
    ("flower", "zigzag"): "zigzag flower",
    ("star", "stripes"): "striped star",
}


@dataclass(frozen=True)
class Example:
    """Everything that one click fills in."""

    title: str
    cover: Path
    references: tuple[tuple[Path, Path | None, str], ...]
    """Pictures, masks and classes; the last is put on the canvas, and only it may have no mask."""
    pictures: tuple[Path, ...] = ()
    video: Path | None = None


def draw_examples(folder: Path) -> list[Example]:
    """Draw all examples into a folder."""
    return [
        _pictures(folder / "one", "One reference", [BRICKS], seed=1),
        _pictures(folder / "three", "Three references", [STARS] * 3, seed=2),
        _pictures(folder / "paint", "Paint it yourself", [BARS], seed=3, masked=False),
        _pictures(folder / "classes", "Two classes", [BRICKS, STARS], seed=5),
        _film(folder / "film", "A video", FLOWERS, seed=4),
    ]


def _pictures(
    folder: Path, title: str, shown: Sequence[Pair], seed: int, masked: bool = True
) -> Example:
    """References of the pairs that are shown, and six pictures; the fifth lacks the first pair."""
    references = [
        _scene((seed, 0, number), pair, _others(pair)) for number, pair in enumerate(shown)
    ]
    pictures = []
    for number in range(6):
        pair = shown[number % len(shown)]
        others = _others(pair)
        if number == 4:
            pair, others = others[0], [one for one in others[1:] if one != shown[0]]
        pictures.append(_scene((seed, 1, number), pair, others)[0])
    return Example(
        title,
        _cover(folder, references[0], pictures, masked),
        tuple(
            _reference(folder, n, one, pair, masked)
            for n, (one, pair) in enumerate(zip(references, shown, strict=True), start=1)
        ),
        tuple(_save(folder / f"picture_{n}.jpg", one) for n, one in enumerate(pictures, start=1)),
    )


def _others(pair: Pair) -> list[Pair]:
    return [one for one in PAIRS if one != pair]


def _film(folder: Path, title: str, pair: Pair, seed: int) -> Example:
    """A reference and a short video."""
    others = _others(pair)
    reference = _scene((seed, 0, 0), pair, others)
    random = np.random.default_rng((seed, 1))
    clip = random_clip(random, SIDE, pair, others, FRAMES, BENCHMARK_STYLE)
    frames = [drawn.image for drawn in clip.frames(FRAMES)]
    path = folder / "film.mp4"
    with VideoWriter(path, frames_per_second=12, codec=BROWSER_CODEC) as writer:
        for frame in frames:
            writer.write(frame)
    cover = _cover(folder, reference, [frames[0], frames[FRAMES // 2]])
    return Example(title, cover, (_reference(folder, 1, reference, pair),), video=path)


def _cover(folder: Path, reference: Drawn, targets: list[np.ndarray], masked: bool = True) -> Path:
    """A strip of the reference and two targets."""
    image, mask = reference
    shown = overlay(image, mask, SUPPORT_COLOUR) if masked else image
    tiles = [fitted(one, 128) for one in (shown, *targets[:2])]
    gap = np.full((128, 6, 3), 255, dtype=np.uint8)
    strip = np.concatenate([tiles[0], gap, tiles[1], gap, tiles[2]], axis=1)
    return _save(folder / "cover.png", strip)


def _reference(
    folder: Path, number: int, drawn: Drawn, pair: Pair, masked: bool = True
) -> tuple[Path, Path | None, str]:
    photo = _save(folder / f"reference_{number}.jpg", drawn[0])
    mask = drawn[1].astype(np.uint8) * 255
    stored = _save(folder / f"reference_{number}_mask.png", mask) if masked else None
    return photo, stored, PAIRS[pair]


def _scene(seed: tuple[int, ...], pair: Pair, others: Sequence[Pair]) -> Drawn:
    random = np.random.default_rng(seed)
    instances, drawn = random_scene(random, SIDE, pair, others, BENCHMARK_STYLE)
    mine = [n for n, one in enumerate(instances, start=1) if (one.shape, one.texture) == pair]
    return drawn.image, np.isin(drawn.instances, mine)


def _save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=92)
    return path
