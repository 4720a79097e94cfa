"""What is segmented in videos, item by item: IC-VOS, DAVIS and LVOS seen alike.

An item is one class of one video (IC-VOS), or all objects of one video, which share its
pixels (DAVIS, LVOS). Its label map of a frame is H0 x W0 uint8: 0 outside, a label inside each
object, 255 where pixels do not count.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from common.errors import UsageError
from common.images import IGNORED
from data.davis import Davis
from data.episode import EpisodeKey
from data.icvos import MASKS, IcVos, check_shows_class, read_class_mask, read_sources
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

    def given_on(self, frame: int) -> list[int]:
        """The labels whose masks are given on a frame."""
        return [label for label, first in self.given.items() if first == frame]


@dataclass(frozen=True)
class ClassItem(VideoItem):
    """A class in a video of IC-VOS; every frame counts."""

    class_id: int
    class_name: str
    source: str
    support: EpisodeKey | None

    numbered = False
    labels = (1,)

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "item": self.name,
            "video": self.video.name,
            "class_id": self.class_id,
            "class": self.class_name,
            "source": self.source,
            "support": None if self.support is None else list(self.support.support),
        }

    def truth(self, frame: int) -> np.ndarray:
        return read_class_mask(self.video, frame).astype(np.uint8)

    def given_map(self, frame: int) -> np.ndarray:
        return read_class_mask(self.given_from, frame).astype(np.uint8)

    def is_scored(self, label: int, frame: int) -> bool:
        return True


@dataclass(frozen=True)
class ObjectsItem(VideoItem):
    """The objects of a video of DAVIS or LVOS, each given on the first frame that shows it.

    Only frames after that count; and not the last one of a DAVIS video, as in its definition.
    """

    skips_last: bool
    void: bool
    """Pixels of value 255 do not count; else they are background, or an object of that number."""

    numbered = True

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(self.given)

    @property
    def facts(self) -> dict[str, Any]:
        return {"item": self.name, "video": self.video.name}

    def truth(self, frame: int) -> np.ndarray | None:
        if frame not in self.video.masks:
            return None
        mask = self.video.read_mask(frame)
        if not self.void and IGNORED not in self.labels:
            mask[mask == IGNORED] = 0
        return mask

    def given_map(self, frame: int) -> np.ndarray:
        mask = self.given_from.read_mask(frame)
        return np.where(np.isin(mask, self.given_on(frame)), mask, 0)

    def is_scored(self, label: int, frame: int) -> bool:
        last = self.skips_last and frame == len(self.video) - 1
        return frame > self.given[label] and not last


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


class SupportChoice(Protocol):
    """Which support belongs to a class of a video."""

    def key(self, video: str, class_id: int) -> EpisodeKey:
        """The item as an episode whose query is the video, or UsageError."""


class ClassItems(ItemSource):
    """Of IC-VOS.

    Args:
        supports: what the items' supports are; None: the first frame's mask is given instead.
    """

    def __init__(
        self, benchmark: IcVos, supports: SupportChoice | None, given_folder: Path | None = None
    ) -> None:
        self.benchmark, self.supports, self.given_folder = benchmark, supports, given_folder
        self.sources = read_sources(benchmark.root)
        self.names = [f"{video}/{class_id}" for video, class_id in benchmark.items]
        self.problems = benchmark.problems
        shown = sorted({class_id for _, class_id in benchmark.items})
        self.class_names = {class_id: benchmark.class_names[class_id] for class_id in shown}

    def open(self, name: str) -> VideoItem:
        folder, class_id = _video_and_class(name)
        video = self.benchmark.open(folder, class_id)
        check_shows_class(video)
        item = ClassItem(
            name,
            video,
            {1: 0} if self.supports is None else {},
            video,
            self.mask_folder(name),
            class_id,
            self.class_names[class_id],
            self.sources.get(folder, "unknown" if self.sources else "all"),
            None if self.supports is None else self.supports.key(folder, class_id),
        )
        return self._checked(item)

    def mask_folder(self, name: str) -> Path:
        video, class_id = _video_and_class(name)
        return Path(video, MASKS, str(class_id))


class ObjectsItems(ItemSource):
    """Of DAVIS or LVOS.

    Args:
        void: leave pixels of value 255 out of the scores.
    """

    def __init__(
        self, benchmark: Davis, void: bool = False, given_folder: Path | None = None
    ) -> None:
        self.benchmark, self.void, self.given_folder = benchmark, void, given_folder
        self.names, self.problems, self.class_names = benchmark.videos, {}, {}

    def open(self, name: str) -> VideoItem:
        video = self.benchmark.open(name)
        given = video.appearances()
        if not given:
            raise UsageError(f"annotation without an object: every mask of video {name} is empty")
        skips_last = self.benchmark.layout == "DAVIS"
        folder = self.mask_folder(name)
        return self._checked(ObjectsItem(name, video, given, video, folder, skips_last, self.void))

    def mask_folder(self, name: str) -> Path:
        return Path(name)


def _video_and_class(name: str) -> tuple[str, int]:
    video, _, class_id = name.partition("/")
    return video, int(class_id)
