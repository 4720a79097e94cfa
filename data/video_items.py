"""What is segmented in videos, item by item: the benchmarks of videos seen alike.

An item is one class of one video (`data.class_items`), or all objects of one video, which share its
pixels (`data.object_items`). Its label map of a frame is H0 x W0 uint8: 0 outside, a label inside
each object, 255 where pixels do not count.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data.videos import AnnotatedVideo


@dataclass(frozen=True)
class VideoItem(ABC):
    """What is segmented in a video, and where its truth lies."""

    name: str
    """Unique in the benchmark: the video, or the video, a slash and the class id."""
    video: AnnotatedVideo
    given: Mapping[int, int]
    """Label -> the frame on which its mask is given; empty where there is a support instead."""
    given_from: AnnotatedVideo
    """Where masks that are given are read: the video itself, or one with masks from elsewhere."""
    mask_folder: Path
    """Where the benchmark's layout has its masks, below the benchmark's folder."""

    numbered: ClassVar[bool]
    """Whether it has objects with numbers, rather than the one of a class."""

    @property
    @abstractmethod
    def labels(self) -> tuple[int, ...]:
        """The objects' values in label maps."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the item's record says of it beside its scores."""

    @abstractmethod
    def truth(self, frame: int) -> np.ndarray | None:
        """The label map of a frame; None where it is not annotated.

        Raises:
            UsageError: the mask is missing, corrupt, of another size or of other values.
        """

    @abstractmethod
    def given_map(self, frame: int) -> np.ndarray:
        """The label map of the masks that are given on a frame; 0 outside these.

        Raises:
            UsageError: the mask is missing, corrupt, of another size or of other values.
        """

    @abstractmethod
    def is_scored(self, label: int, frame: int) -> bool:
        """Whether an annotated frame counts for an object."""

    def object_facts(self, label: int) -> dict[str, Any]:
        """What the item's record says of one object beside its scores."""
        return {}

    def is_asked(self, frame: int) -> bool:
        """Whether the benchmark asks for the masks of a frame."""
        return True

    def given_on(self, frame: int) -> list[int]:
        """The labels whose masks are given on a frame."""
        return [label for label, first in self.given.items() if first == frame]


class ItemSource(ABC):
    """The items of a benchmark."""

    names: Sequence[str]
    """Of all items, sorted by video."""
    problems: Mapping[str, str]
    """What cannot even be listed -> why."""
    class_names: Mapping[int, str]
    """Of the classes that items show, by COCO's ids; empty where objects have numbers."""
    given_folder: Path | None
    """Holds masks that are given, in the benchmark's layout; None: the benchmark's own are."""

    @abstractmethod
    def open(self, name: str) -> VideoItem:
        """Look at an item's files.

        Raises:
            UsageError: something is wrong with them.
        """

    @abstractmethod
    def mask_folder(self, name: str) -> Path:
        """Where the benchmark's layout has an item's masks, below the benchmark's folder."""

    def given_hash(self, name: str) -> str | None:
        """A SHA-256 of an item's masks in the folder of given ones; None without such a folder."""
        if self.given_folder is None:
            return None
        found = hashlib.sha256()
        for path in sorted((self.given_folder / self.mask_folder(name)).glob("[!.]*.png")):
            found.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
        return found.hexdigest()

    def by_video(self, names: Sequence[str]) -> list[list[str]]:
        """Items which are segmented together, because they are in one video."""
        videos: dict[str, list[str]] = {}
        for name in names:
            videos.setdefault(name.partition("/")[0], []).append(name)
        return list(videos.values())

    def _checked(self, item: VideoItem) -> VideoItem:
        """With the masks of the folder, if there is one, after a look at them.

        Raises:
            UsageError: one is missing, corrupt, of another size or of other values.
        """
        if self.given_folder is None:
            return item
        folder = self.given_folder / item.mask_folder
        frames = sorted(set(item.given.values()))
        masks = {n: folder / f"{item.video.frames[n].stem}.png" for n in frames}
        item = replace(item, given_from=replace(item.video, masks=masks))
        for frame in frames:
            item.given_map(frame)
        return item
