"""Generated videos in the layouts of IC-VOS and of those whose first masks are given, from clips.

A video depends on the seed, its number and how many frames there are; all layouts have the same
videos. IC-VOS gets a binary mask of every class in a video, the others the number of every object.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.video_io import davis_palette, write_indexed_mask
from data.classes import COCO_CLASSES
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
from data.youtube_vos import META

_CLIPS = 2
"""Keeps the random numbers of videos apart from those of images (0 and 1)."""
_RESOLUTION = RESOLUTIONS[0]
STEP = 5
"""YouTube-VOS has masks on every so many frames."""


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
        places = [unfinished / kind / _RESOLUTION for kind in (FRAMES, MASKS)]
        write = partial(_write_objects_video, places=places, seed=seed, frames=frames)
        parallel_map(write, range(videos), workers=workers, description="drawing DAVIS")
        for year in ("2016", "2017"):
            path = unfinished / LISTS / year / "val.txt"
            path.parent.mkdir(parents=True)
            path.write_text("".join(f"{video_name(number)}\n" for number in range(videos)))

    first = Path(FRAMES, _RESOLUTION, video_name(0), "00000.jpg")
    description = _description("DAVIS", videos, frames, seed)
    write_once(folder, description, (first, _first_frame(frames, seed)), draw)


def write_lvos(
    folder: Path, videos: int, frames: int, seed: int = 0, workers: int | None = None
) -> None:
    """Write an LVOS folder with one split, val. The arguments and errors are `write_icvos`'s."""
    _write_numbered(folder, "LVOS", "val", videos, frames, seed, workers)


def write_mose(
    folder: Path, videos: int, frames: int, seed: int = 0, workers: int | None = None
) -> None:
    """Write a MOSE folder with one split, valid: its other masks are its server's.

    The arguments and errors are `write_icvos`'s.
    """
    _write_numbered(folder, "MOSE", "valid", videos, frames, seed, workers, masks=1)


def _write_numbered(
    folder: Path,
    layout: str,
    split: str,
    videos: int,
    frames: int,
    seed: int,
    workers: int | None,
    masks: int | None = None,
) -> None:
    """Write a split of LVOS or MOSE; masks: on so many frames (None: on all)."""

    def draw(unfinished: Path) -> None:
        places = [unfinished / split / kind for kind in (FRAMES, MASKS)]
        write = partial(_write_objects_video, places=places, seed=seed, frames=frames, masks=masks)
        parallel_map(write, range(videos), workers=workers, description=f"drawing {layout}")

    first = Path(split, FRAMES, video_name(0), "00000.jpg")
    description = _description(layout, videos, frames, seed)
    write_once(folder, description, (first, _first_frame(frames, seed)), draw)


def write_youtube_vos(
    folder: Path, videos: int, frames: int, seed: int = 0, workers: int | None = None
) -> None:
    """Write a YouTube-VOS folder: train with all masks, valid with those that begin objects.

    The categories are COCO's, some of which are among those of YouTube-VOS's training. Of several
    objects the last is annotated from the second annotated frame on. The arguments and errors are
    `write_icvos`'s.
    """

    def draw(unfinished: Path) -> None:
        for split, first in (("valid", 0), ("train", videos)):
            write = partial(_write_youtube_video, part=unfinished / split, seed=seed, frames=frames)
            numbers = range(first, first + videos)
            found = parallel_map(
                write, numbers, workers=workers, description=f"drawing YouTube-VOS {split}"
            )
            meta = {"videos": dict(zip(map(video_name, numbers), found, strict=True))}
            (unfinished / split / META).write_text(json.dumps(meta, indent=1) + "\n")

    first = Path("valid", FRAMES, video_name(0), "00000.jpg")
    description = _description("YouTube-VOS", videos, frames, seed)
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


def _write_objects_video(
    number: int, places: Sequence[Path], seed: int, frames: int, masks: int | None = None
) -> None:
    """Write a video of numbered objects.

    Args:
        places: where the folders of frames and those of masks are.
        masks: on so many frames; None: on all.
    """
    clip = generated_clip(seed, number, frames)
    pictures, marked = (place / video_name(number) for place in places)
    pictures.mkdir(parents=True)
    marked.mkdir(parents=True)
    for index, frame in enumerate(clip.frames(frames)):
        (pictures / f"{index:05d}.jpg").write_bytes(encode_jpeg(frame.image))
        if masks is None or index < masks:
            mask = Image.fromarray(frame.instances.astype(np.uint8))
            mask.putpalette(davis_palette().tobytes())
            mask.save(marked / f"{index:05d}.png")


def _write_youtube_video(number: int, part: Path, seed: int, frames: int) -> dict[str, Any]:
    """Write a video of a split and return what the split's list says of its objects."""
    clip, name = generated_clip(seed, number, frames), video_name(number)
    every = part.with_name(f"{part.name}_all_frames") / FRAMES / name
    images, masks = part / FRAMES / name, part / MASKS / name
    for folder in (every, images, masks):
        folder.mkdir(parents=True)
    last = len(clip.instances) if len(clip.instances) > 1 else 0
    shown: dict[int, list[str]] = {}
    for index, frame in enumerate(clip.frames(frames)):
        encoded = encode_jpeg(frame.image)
        (every / f"{index:05d}.jpg").write_bytes(encoded)
        if index % STEP:
            continue
        (images / f"{index:05d}.jpg").write_bytes(encoded)
        labels = frame.instances.astype(np.uint8)
        if index == 0:
            labels[labels == last] = 0
        new = [label for label in np.unique(labels).tolist() if label and label not in shown]
        shown |= {label: [] for label in new}
        for names in shown.values():
            names.append(f"{index:05d}")
        if part.name == "valid":
            labels[~np.isin(labels, new)] = 0
        if part.name != "valid" or new:
            write_indexed_mask(masks / f"{index:05d}.png", labels)
    class_of = {label: c for c, labels in classes_of(clip).items() for label in labels}
    return {
        "objects": {
            str(label): {
                "category": COCO_CLASSES[class_of[label]].replace(" ", "_"),
                "frames": shown[label],
            }
            for label in sorted(shown)
        }
    }
