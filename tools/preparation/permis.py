"""Make PerMIS of BURST: objects of videos in which there are others of their kind.

Which 216 videos and which later frames are published is not known here. This is our own choice: of
each video the kind of which most objects are in the first annotated frame and, together, in a
later one; the two that are largest in the first frame; and the last frame that shows both.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from common.cli import shown
from common.coco_masks import annotated_mask, listed_size
from common.errors import UsageError
from common.files import BROKEN, parse_json, write_atomically
from common.images import read_image
from data.parallel import parallel_map

ANNOTATIONS = Path("BURST", "annotations", "val", "all_classes.json")
FRAMES = Path("TAO", "frames", "val")
"""TAO's frames, <source>/<video>/<frame>.jpg, below the root."""
TARGETS = 2


class Choice(NamedTuple):
    """Two objects of a kind in two frames of a video."""

    tracks: tuple[str, ...]
    frames: tuple[int, int]
    """Positions among the annotated frames."""


def choose(video: Mapping[str, Any]) -> Choice | None:
    """Two objects of a kind in a sequence of BURST; None: there are none.

    Raises:
        ValueError: a mask is malformed.
    """
    size = listed_size(video)
    masks = [
        {track: {"size": size, "counts": one["rle"]} for track, one in frame.items()}
        for frame in video["segmentations"]
    ]
    areas = {track: annotated_mask(one, size).sum() for track, one in masks[0].items()}
    kinds: dict[int, list[str]] = {}
    for track in sorted(areas, key=lambda track: (-areas[track], int(track))):
        if areas[track]:
            kinds.setdefault(int(video["track_category_ids"][track]), []).append(track)
    for tracks in sorted(kinds.values(), key=len, reverse=True):
        chosen = tuple(tracks[:TARGETS])
        for frame in range(len(masks) - 1, 0, -1):
            shown = [masks[frame].get(track) for track in chosen]
            if len(chosen) == TARGETS and all(
                one and annotated_mask(one, size).any() for one in shown
            ):
                return Choice(chosen, (0, frame))
    return None


def make_permis(folder: Path, workers: int | None) -> None:
    """Write PerMIS/<video>/<frame>.jpg and <frame>_<object>.png, where BURST and TAO are.

    Args:
        folder: PerMIS, beside BURST and TAO; with a folder in it nothing is made.

    Raises:
        UsageError: the annotations are in another format, or a frame is missing.
    """
    file = folder.parent / ANNOTATIONS
    if folder.is_dir() or not file.is_file():
        return
    try:
        videos = parse_json(file.read_bytes())["sequences"]
    except (OSError, *BROKEN) as error:
        raise UsageError(f"{file} is no file of BURST: {shown(error)}") from None
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    write = partial(_write, frames=folder.parent / FRAMES, folder=unfinished)
    parallel_map(write, videos, workers=workers, description="choosing objects of BURST")
    unfinished.rename(folder)


def _write(video: Mapping[str, Any], frames: Path, folder: Path) -> None:
    try:
        choice, size = choose(video), listed_size(video)
        source = Path(video["dataset"], video["seq_name"])
        names = video["annotated_image_paths"]
    except BROKEN as error:
        raise UsageError(f"a video of BURST is in another format: {shown(error)}") from None
    for frame in choice.frames if choice else ():
        place = folder / "_".join(source.parts)
        image = read_image(frames / source / names[frame], upright=False)
        if image.shape[:2] != size:
            raise UsageError(f"{frames / source / names[frame]} has another size than its masks")
        picture = place / f"{frame:05d}.jpg"
        content = (frames / source / names[frame]).read_bytes()
        write_atomically(picture, lambda path, content=content: path.write_bytes(content))
        for number, track in enumerate(choice.tracks, start=1):
            coded = {
                "size": listed_size(video),
                "counts": video["segmentations"][frame][track]["rle"],
            }
            mask = annotated_mask(coded, listed_size(video)).astype(np.uint8) * 255
            path = place / f"{frame:05d}_{number}.png"
            write_atomically(path, Image.fromarray(mask).save)
