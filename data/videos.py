"""Annotated videos: a folder of frames, and a folder of masks with the frames' names.

Shapes: H0 and W0 a video's own height and width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import UsageError
from common.images import IGNORED, image_size, read_mask
from common.video_io import FrameReader, list_frames
from data.class_index import name_some

FRAMES, MASKS = "JPEGImages", "Annotations"
"""Folders of IC-VOS, DAVIS and LVOS."""
RESOLUTIONS = ("480p", "Full-Resolution")
"""Folders within those of DAVIS."""
LISTS = "ImageSets"
"""DAVIS: where <year>/<split>.txt names the videos of a split."""


@dataclass(frozen=True)
class AnnotatedVideo:
    """Where the frames and masks of a video lie, in the order of time."""

    name: str
    folder: Path
    """Of the frames."""
    frames: tuple[Path, ...]
    masks: Mapping[int, Path]
    """Number of a frame, from 0 -> its mask."""
    size: tuple[int, int]
    """H0 and W0, of the first frame; its reader refuses frames of another size."""

    def __len__(self) -> int:
        return len(self.frames)

    def reader(self, ahead: int = 4) -> FrameReader:
        """The frames as H0 x W0 x 3 uint8, decoded ahead in a background thread."""
        return FrameReader(self.folder, ahead, upright=False)

    def read_mask(self, number: int) -> np.ndarray:
        """The mask of a frame that has one: object numbers, H0 x W0 uint8.

        Raises:
            UsageError: it is missing, corrupt or of another size than the frames.
        """
        path = self.masks[number]
        mask = read_mask(path)
        if mask.shape != self.size:
            raise UsageError(
                f"sizes differ (height, width): mask {path} {mask.shape}, "
                f"frame {self.frames[0]} {self.size}"
            )
        return mask

    def appearances(self) -> dict[int, int]:
        """Object number -> the first annotated frame that shows it. Reads all masks.

        255 is an object only where there is no other, as in DAVIS 2016.
        """
        found: dict[int, int] = {}
        for number in self.masks:
            for value in np.unique(self.read_mask(number)).tolist():
                found.setdefault(value, number)
        objects = {value: found[value] for value in sorted(found) if value not in (0, IGNORED)}
        return objects or {value: found[value] for value in found if value == IGNORED}


@dataclass(frozen=True)
class VideoObjects:
    """The numbered objects of a video."""

    video: AnnotatedVideo
    given: Mapping[int, int]
    """Object number -> the frame on which its mask is given."""
    facts: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Object number -> what else is known of it."""
    asked: frozenset[int] | None = None
    """The frames whose masks the benchmark asks for; None: all."""
    complete: bool = True
    """Masks show all objects that are there, and not just those that begin: some of the frames that
    are asked for have masks though nothing begins there."""


NeedsMasks = Literal["every frame", "first frame", "no frame"]


def open_video(name: str, frames: Path, masks: Path, needed: NeedsMasks) -> AnnotatedVideo:
    """Look at the folders of a video.

    Args:
        name: what the video is called.
        needed: which frames have to have a mask.

    Raises:
        UsageError: a folder or a mask is missing, there is no frame, or a mask has no frame.
    """
    for folder, what in ((frames, "frames"), (masks, "masks")):
        if not folder.is_dir():
            raise UsageError(f"video {name} has no folder of {what}: {folder}")
    images = list_frames(frames)
    numbers: dict[str, int] = {}
    for number, path in enumerate(images):
        if path.stem in numbers:
            other = images[numbers[path.stem]]
            raise UsageError(f"two frames of one name: {other} and {path}")
        numbers[path.stem] = number
    found = {path.stem: path for path in masks.glob("[!.]*.png")}
    alone = sorted(str(path) for stem, path in found.items() if stem not in numbers)
    if alone:
        raise UsageError(f"{len(alone)} masks without a frame in {frames}: {name_some(alone)}")
    stems = [path.stem for path in images]
    wanted = {"every frame": stems, "first frame": stems[:1], "no frame": []}[needed]
    missing = [str(masks / f"{stem}.png") for stem in wanted if stem not in found]
    if missing:
        raise UsageError(f"{len(missing)} missing masks of video {name}: {name_some(missing)}")
    by_number = {number: found[stem] for stem, number in numbers.items() if stem in found}
    return AnnotatedVideo(name, frames, tuple(images), by_number, image_size(images[0]))
