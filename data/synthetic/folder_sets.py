"""Generated copies of the benchmarks that are folders of images and masks.

`data.binary_masks` and `data.pixel_classes` say what lies where. A picture depends on the seed, its
benchmark, its class and its number; PerMIS has two frames of each of some generated videos.
"""

import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.errors import UsageError
from data.binary_masks import ChestXray, Isic, PerMis, PerSeg
from data.parallel import parallel_map
from data.pixel_classes import SUIM_PARTS, DeepGlobe, Isaid, PixelClasses, Suim
from data.reader import Reader
from data.synthetic.drawing import random_scene
from data.synthetic.style import (
    BENCHMARK_PAIRS,
    BENCHMARK_STYLE,
    MIN_PIXELS,
    SIDE,
    encode_jpeg,
    write_once,
)
from data.synthetic.video_sets import generated_clip, video_name

_DARK_RED = np.uint8([128, 0, 0])
_SECOND = 8
"""The frame of a video that is the query of PerMIS; frame 0 is the reference."""

Files = dict[Path, bytes]
"""What is to be written, and where in the folder."""


class _Drawn(NamedTuple):
    """A picture before it is written."""

    place: int
    """Of its class, from 0 on."""
    number: int
    """Among the pictures of its class, from 0 on."""
    image: np.ndarray
    """SIDE x SIDE x 3 uint8."""
    mask: np.ndarray
    """SIDE x SIDE uint8: 255 where its class is."""
    places: np.ndarray
    """SIDE x SIDE: 1 + the place of the class that is there, 0 for none."""

    @property
    def name(self) -> str:
        return f"{self.place + 1}_{self.number:03d}"


def _encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _isic(drawn: _Drawn) -> Files:
    images, masks = map(Path, Isic.inner)
    name = f"ISIC_{drawn.name}"
    return {
        images / str(drawn.place + 1) / f"{name}.jpg": encode_jpeg(drawn.image),
        masks / f"{name}_segmentation.png": _encoded(drawn.mask),
    }


def _chest_xray(drawn: _Drawn) -> Files:
    ending = "_mask" if drawn.number % 2 else ""  # the two hospitals call them differently
    return {
        Path("CXR_png", f"{drawn.name}.png"): _encoded(drawn.image[..., 1]),
        Path("masks", f"{drawn.name}{ending}.png"): _encoded(drawn.mask),
    }


def _perseg(drawn: _Drawn) -> Files:
    shape, texture = BENCHMARK_PAIRS[drawn.place]
    name = Path(f"{texture}_{shape}", f"{drawn.number:02d}")
    return {
        "Images" / name.with_suffix(".jpg"): encode_jpeg(drawn.image),
        "Annotations" / name.with_suffix(".png"): _encoded((drawn.mask > 0)[..., None] * _DARK_RED),
    }


def _suim(drawn: _Drawn) -> Files:
    part = SUIM_PARTS[drawn.number % 2]
    return {
        Path(part, "images", f"{drawn.name}.jpg"): encode_jpeg(drawn.image),
        Path(part, "masks", f"{drawn.name}.bmp"): _encoded(_colours(drawn, Suim), "BMP"),
    }


def _deepglobe(drawn: _Drawn) -> Files:
    images, masks = map(Path, DeepGlobe.inner)
    return {
        images / f"{drawn.name}.png": _encoded(drawn.image),
        masks / f"{drawn.name}.png": _encoded(_colours(drawn, DeepGlobe)),
    }


def _isaid(drawn: _Drawn) -> Files:
    images, masks = map(Path, Isaid.inner)
    file = masks / f"{drawn.name}_instance_color_RGB.png"
    ids = _class_ids(drawn, Isaid)
    return {images / f"{drawn.name}.png": _encoded(drawn.image), file: _encoded(ids)}


def _class_ids(drawn: _Drawn, reader: type[PixelClasses]) -> np.ndarray:
    return np.array([0, *reader.classes], dtype=np.uint8)[drawn.places]


def _colours(drawn: _Drawn, reader: type[PixelClasses]) -> np.ndarray:
    """Class ids as the colours of `data.pixel_classes.read_colours`."""
    ids = _class_ids(drawn, reader)
    return np.stack([(ids & bit > 0) * np.uint8(255) for bit in (4, 2, 1)], axis=2)


_LAYOUTS: Mapping[type[Reader], Callable[[_Drawn], Files]] = {
    Isic: _isic,
    ChestXray: _chest_xray,
    PerSeg: _perseg,
    Suim: _suim,
    DeepGlobe: _deepglobe,
    Isaid: _isaid,
}
FOLDER_SETS: Mapping[str, type[Reader]] = {one.name: one for one in (*_LAYOUTS, PerMis)}
"""Benchmarks that are written here, and what reads them."""


def write_folder_set(
    benchmark: str,
    folder: Path,
    images: int,
    classes: int = 20,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write a folder in the layout of one of `FOLDER_SETS`; a finished one is kept.

    Args:
        folder: appears when it is complete.
        images: of each class; of PerMIS, how many videos.
        classes: how many objects PerSeg has; the others have the classes that they have.

    Raises:
        UsageError: the folder holds something else, or there are too few or too many classes.
    """
    classes = len(FOLDER_SETS[benchmark].classes) or classes
    if not 1 <= classes <= len(BENCHMARK_PAIRS) or images < 1:
        raise UsageError(
            f"1 to {len(BENCHMARK_PAIRS)} classes of at least one image, not {classes} of {images}"
        )
    pictures = [(place, number) for place in range(classes) for number in range(images)]
    files_of = partial(_files, benchmark=benchmark, classes=classes, seed=seed)

    def draw(unfinished: Path) -> None:
        write = partial(_write, folder=unfinished, files_of=files_of)
        parallel_map(write, pictures, workers=workers, description=f"drawing {benchmark}")

    description = {
        "benchmark": benchmark,
        "generated": True,
        "classes": classes,
        "images": images,
        "seed": seed,
        "side": SIDE,
        "min_pixels": MIN_PIXELS,
    }
    write_once(folder, description, next(iter(files_of(pictures[0]).items())), draw)


def _write(
    picture: tuple[int, int], folder: Path, files_of: Callable[[tuple[int, int]], Files]
) -> None:
    for path, content in files_of(picture).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def _files(picture: tuple[int, int], benchmark: str, classes: int, seed: int) -> Files:
    """A picture and its mask, the picture first."""
    if benchmark == "permis":
        return _two_frames(picture[1], seed)
    place, number = picture
    # the first 11 keeps these scenes apart from those of other generated data
    random = np.random.default_rng((11, seed, [*FOLDER_SETS].index(benchmark), place, number))
    target = BENCHMARK_PAIRS[place]
    pairs = BENCHMARK_PAIRS[: max(classes, 3)]
    others = [pair for pair in pairs if pair != target]
    instances, rendering = random_scene(random, SIDE, target, others, BENCHMARK_STYLE)
    found = [pairs.index((one.shape, one.texture)) + 1 for one in instances]
    places = np.array([0, *(n if n <= classes else 0 for n in found)])[rendering.instances]
    mask = (places == place + 1).astype(np.uint8) * 255
    return _LAYOUTS[FOLDER_SETS[benchmark]](_Drawn(place, number, rendering.image, mask, places))


def _two_frames(number: int, seed: int) -> Files:
    """The first and a later frame of a video, and the masks of the objects that both show."""
    clip, files = generated_clip(seed, number, _SECOND + 1), {}
    drawn = {frame: clip.frame(frame) for frame in (0, _SECOND)}
    shown = [set(np.unique(one.instances).tolist()) - {0} for one in drawn.values()]
    for frame, one in drawn.items():
        stem = Path(video_name(number), f"{frame:05d}")
        files[stem.with_suffix(".jpg")] = encode_jpeg(one.image)
        for label in sorted(set.intersection(*shown)):
            mask = (one.instances == label).astype(np.uint8) * 255
            files[stem.with_name(f"{stem.name}_{label}.png")] = _encoded(mask)
    return files
