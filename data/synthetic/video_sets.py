"""Generated videos in the layouts of IC-VOS and of DAVIS 2017; see `data.synthetic.clips`.

A video depends on the seed, its number and how many frames there are; both layouts have the same
videos. IC-VOS gets a binary mask of every class in a video, DAVIS the number of every object.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.video_io import davis_palette
from data.parallel import parallel_map
from data.synthetic.clips import Clip, random_clip
from data.synthetic.style import (
    BENCHMARK_PAIRS,
    BENCHMARK_STYLE,
    COCO_PAIRS,
    SIDE,
    encode_jpeg,
    write_once,
)
from data.videos import FRAMES, LISTS, MASKS, RESOLUTIONS

_CLIPS = 2
"""Keeps the random numbers of videos apart from those of images (0 and 1)."""
_RESOLUTION = RESOLUTIONS[0]


def video_name(number: int) -> str:
    return f"video_{number + 1:04d}"


def generated_clip(seed: int, number: int, frames: int) -> Clip:
    """The clip of a video, counted from 0; the classes take turns."""
    random = np.random.default_rng((seed, _CLIPS, number))
    target = BENCHMARK_PAIRS[number % len(BENCHMARK_PAIRS)]
    others = [pair for pair in BENCHMARK_PAIRS if pair != target]
    return random_clip(random, SIDE, target, others, frames, BENCHMARK_STYLE)


def classes_of(clip: Clip) -> dict[int, list[int]]:
    """Class id -> labels of its objects in a frame's `Rendering.instances`."""
    class_of = {pair: number for number, pair in COCO_PAIRS.items()}
    found: dict[int, list[int]] = {}
    for label, instance in enumerate(clip.instances, start=1):
        found.setdefault(class_of[instance.shape, instance.texture], []).append(label)
    return dict(sorted(found.items()))


def write_icvos(
    folder: Path, videos: int, frames: int, seed: int = 0, workers: int | None = None
) -> None:
    """Write a folder in the layout of IC-VOS; a finished one of the same parameters is kept.

    Args:
        folder: the folder of videos itself; it appears when it is complete.
        frames: of each video.
        workers: processes; None takes one per processor. The files do not depend on it.

    Raises:
        UsageError: the folder holds something else, or there would be no video or no frame.
    """

    def draw(unfinished: Path) -> None:
        write = partial(_write_icvos_video, folder=unfinished, seed=seed, frames=frames)
        parallel_map(write, range(videos), workers=workers, description="drawing IC-VOS")

    first = Path(video_name(0), FRAMES, "00000.jpg")
    description = _description("IC-VOS", videos, frames, seed)
    write_once(folder, description, (first, _first_frame(frames, seed)), draw)


def write_davis(
    folder: Path, videos: int, frames: int, seed: int = 0, workers: int | None = None
) -> None:
    """Write a DAVIS folder with one split, val. The arguments and errors are `write_icvos`'s."""

    def draw(unfinished: Path) -> None:
        write = partial(_write_davis_video, folder=unfinished, seed=seed, frames=frames)
        parallel_map(write, range(videos), workers=workers, description="drawing DAVIS")
        path = unfinished / LISTS / "val.txt"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{video_name(number)}\n" for number in range(videos)))

    first = Path(FRAMES, _RESOLUTION, video_name(0), "00000.jpg")
    description = _description("DAVIS", videos, frames, seed)
    write_once(folder, description, (first, _first_frame(frames, seed)), draw)


def _description(layout: str, videos: int, frames: int, seed: int) -> dict[str, Any]:
    if videos < 1 or frames < 1:
        raise UsageError(f"a positive number of videos and of frames, not {videos} and {frames}")
    return {
        "benchmark": layout,
        "generated": True,
        "videos": videos,
        "frames": frames,
        "seed": seed,
        "side": SIDE,
        "class_names": {str(number): f"{t} {s}" for number, (s, t) in COCO_PAIRS.items()},
    }


def _first_frame(frames: int, seed: int) -> bytes:
    return encode_jpeg(generated_clip(seed, 0, frames).frame(0).image)


def _write_icvos_video(number: int, folder: Path, seed: int, frames: int) -> None:
    clip = generated_clip(seed, number, frames)
    video = folder / video_name(number)
    classes = classes_of(clip)
    (video / FRAMES).mkdir(parents=True)
    for class_id in classes:
        (video / MASKS / str(class_id)).mkdir(parents=True)
    for index, frame in enumerate(clip.frames(frames)):
        (video / FRAMES / f"{index:05d}.jpg").write_bytes(encode_jpeg(frame.image))
        for class_id, labels in classes.items():
            mask = Image.fromarray(np.isin(frame.instances, labels).astype(np.uint8))
            mask.save(video / MASKS / str(class_id) / f"{index:05d}.png")


def _write_davis_video(number: int, folder: Path, seed: int, frames: int) -> None:
    clip = generated_clip(seed, number, frames)
    images = folder / FRAMES / _RESOLUTION / video_name(number)
    masks = folder / MASKS / _RESOLUTION / video_name(number)
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for index, frame in enumerate(clip.frames(frames)):
        (images / f"{index:05d}.jpg").write_bytes(encode_jpeg(frame.image))
        mask = Image.fromarray(frame.instances.astype(np.uint8))
        mask.putpalette(davis_palette().tobytes())
        mask.save(masks / f"{index:05d}.png")
