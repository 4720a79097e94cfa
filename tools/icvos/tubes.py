"""From videos of numbered objects to IC-VOS: the rules, pictures for a look, mask tubes.

Source: section 3.2. All instances of a class are merged into one binary mask tube.
"""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.files import BROKEN, parse_json, write_atomically
from common.images import image_size, read_image
from common.logger import write_json
from common.video_io import davis_palette, write_indexed_mask
from common.visualize import overlay
from data.classes import COCO_CLASSES
from data.videos import FRAMES, MASKS, RESOLUTIONS, AnnotatedVideo, open_video
from tools.icvos.lists import SourceVideo

SPLITS = ("", "train", "valid", "val")
"""Folders within a data set in which its videos are looked for, in this order."""
RECORD = "objects.json"
"""In a built video's folder: the source, and the objects that each class was merged from."""
GIF_SIDE = 320
FIRST_SECONDS, NEXT_SECONDS = 1.5, 0.15
"""How long a GIF shows the first frame, on which the first rule is judged, and the others."""

_BUILDING = ".building"

Classes = Mapping[int, Sequence[int]]
"""Class id -> the numbers of its objects."""


def find_video(root: Path, name: str) -> AnnotatedVideo:
    """Look a video up in a folder of DAVIS, MOSE or LVOS.

    Raises:
        UsageError: it is not there, or frames or masks are missing: each frame needs a mask.
    """
    for split in SPLITS:
        for resolution in ("", *RESOLUTIONS):
            frames = root / split / FRAMES / resolution / name
            if frames.is_dir():
                masks = root / split / MASKS / resolution / name
                return open_video(name, frames, masks, "every frame")
    raise UsageError(f"no video {name} in {root}: expected [train/]{FRAMES}/[480p/]{name}")


def check_rules(video: AnnotatedVideo, listed: SourceVideo) -> dict[int, str]:
    """Find the classes with an object that the first frame does not show. Reads all masks.

    Returns:
        Class id -> what is wrong with it.

    Raises:
        UsageError: masks and mapping name different objects, or a file cannot be used.
    """
    for path in video.frames:
        if image_size(path) != video.size:
            raise UsageError(f"frames of different sizes: {video.frames[0]} and {path}")
    appearances = video.appearances()
    unlisted, unseen = appearances.keys() - listed.objects, listed.objects - appearances.keys()
    if unlisted:
        raise UsageError(
            f"the mapping lacks objects {_numbers(unlisted)} of video {video.name}: add a line for "
            "each, with class - if it is of none of the 80"
        )
    if unseen:
        raise UsageError(
            f"the mapping names objects {_numbers(unseen)} of video {video.name}, which no mask in "
            f"{video.masks[0].parent} shows"
        )
    broken = {}
    for class_id, objects in listed.classes.items():
        late = {n: video.frames[appearances[n]].stem for n in objects if appearances[n] > 0}
        if late:
            shown = ", ".join(f"object {n} first in frame {frame}" for n, frame in late.items())
            broken[class_id] = f"not all instances are in the first frame: {shown}"
    return broken


def gif_path(folder: Path, name: str, class_id: int, objects: Sequence[int]) -> Path:
    """Where the picture of a class lies; other objects have another one."""
    numbers = "-".join(map(str, objects))
    return folder / f"{name}_{COCO_CLASSES[class_id].replace(' ', '-')}_{numbers}.gif"


def write_gif(path: Path, video: AnnotatedVideo, objects: Sequence[int], frames: int) -> None:
    """Write frames at even distances, the first among them, with each object in its colour.

    Raises:
        UsageError: a frame is broken, or the file cannot be written.
    """
    numbers = np.linspace(0, len(video) - 1, min(frames, len(video))).round().astype(int).tolist()
    colours = davis_palette().tolist()
    pictures = []
    for number in numbers:
        image, mask = read_image(video.frames[number], upright=False), video.read_mask(number)
        for value in objects:
            image = overlay(image, mask == value, tuple(colours[value]))
        picture = Image.fromarray(image)
        picture.thumbnail((GIF_SIDE, GIF_SIDE))
        pictures.append(picture.quantize(method=Image.Quantize.FASTOCTREE))  # the default is slow
    seconds = [FIRST_SECONDS] + [NEXT_SECONDS] * (len(pictures) - 1)
    write_atomically(
        path,
        lambda place: pictures[0].save(
            place,
            save_all=True,
            append_images=pictures[1:],
            duration=[round(1000 * each) for each in seconds],
            loop=0,
        ),
    )


def record_of(source: str, classes: Classes) -> dict[str, Any]:
    """What `objects.json` says of a video that was built from these objects."""
    return {"source": source, "classes": {str(c): list(objects) for c, objects in classes.items()}}


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a video was built from; None if it was not built here."""
    try:
        record = parse_json((folder / RECORD).read_text())
        {int(c): [int(number) for number in objects] for c, objects in record["classes"].items()}
        return record if isinstance(record["source"], str) else None
    except (OSError, *BROKEN):
        return None


def build_video(
    root: Path, video: AnnotatedVideo, source: str, classes: Classes, copy: bool
) -> None:
    """Write a video in the layout of IC-VOS, whole or not at all; it replaces one built before.

    Ignored pixels (255) become background.

    Args:
        root: of IC-VOS.
        copy: copy frames, else make hard links where the file system can.

    Raises:
        UsageError: a mask cannot be used, a folder that was not built here is in the way, or
            nothing can be written.
    """
    folder = root / video.name
    if os.path.lexists(folder) and read_record(folder) is None:
        raise UsageError(f"{folder} was not built here: move it away to build video {video.name}")
    temporary = root / f".{video.name}{_BUILDING}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        (temporary / FRAMES).mkdir(parents=True)
        for path in video.frames:
            _place(path.resolve(), temporary / FRAMES / path.name, copy)
        for number, path in video.masks.items():
            mask = video.read_mask(number)
            for class_id, objects in classes.items():
                place = temporary / MASKS / str(class_id) / path.name
                write_indexed_mask(place, np.isin(mask, list(objects)))
        write_json(temporary / RECORD, record_of(source, classes))
        remove_video(root, video.name)
        temporary.rename(folder)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_video(root: Path, name: str) -> bool:
    """Remove a video if it was built here, and say whether it was.

    Raises:
        UsageError: it cannot be removed.
    """
    folder, leaving = root / name, root / f".{name}.leaving{_BUILDING}"
    if folder.is_symlink() or read_record(folder) is None:
        return False
    try:
        folder.rename(leaving)
        shutil.rmtree(leaving)
    except OSError as error:
        raise UsageError(f"cannot remove {folder}: {error.strerror}") from error
    return True


def clear_leftovers(root: Path) -> None:
    """Remove what an interrupted build left in IC-VOS's folder."""
    for path in root.glob(f".*{_BUILDING}"):
        shutil.rmtree(path, ignore_errors=True)


def _place(path: Path, place: Path, copy: bool) -> None:
    if not copy:
        try:
            os.link(path, place)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(path, place)


def _numbers(objects: Collection[int]) -> str:
    return ", ".join(map(str, sorted(objects)))
