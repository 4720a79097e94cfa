"""What an evaluation on videos scores, item by item: IC-VOS, DAVIS and LVOS seen alike.

An item is one class of one video (IC-VOS), or all objects of one video, which compete for its
pixels (DAVIS, LVOS). Its label map of a frame is H0 x W0 uint8: 0 outside, a label inside each
object, 255 where pixels do not count.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UsageError
from data.davis import Davis
from data.episode import EpisodeKey
from data.icvos import MASKS, IcVos, check_shows_class, read_class_mask, read_sources
from data.videos import AnnotatedVideo
from evaluation.jf import Summary, mean_summary


@dataclass(frozen=True)
class VideoItem(ABC):
    """What is followed in a video, and where its truth lies."""

    name: str
    """Unique in the benchmark: the video, or the video, a slash and the class id."""
    video: AnnotatedVideo
    given: Mapping[int, int]
    """Label -> the frame on which its mask is given; empty where there is a support instead."""

    @property
    @abstractmethod
    def labels(self) -> tuple[int, ...]:
        """The objects' values in label maps."""

    @property
    @abstractmethod
    def mask_folder(self) -> Path:
        """Where the benchmark's layout has its masks, below the benchmark's folder."""

    @abstractmethod
    def record(self, objects: Mapping[int, Summary]) -> dict[str, Any]:
        """What is written down of it, given each label's scores."""

    @abstractmethod
    def truth(self, frame: int) -> np.ndarray | None:
        """The label map of a frame; None where it is not annotated.

        Raises:
            UsageError: the mask is missing, corrupt, of another size or of other values.
        """

    @abstractmethod
    def is_scored(self, label: int, frame: int) -> bool:
        """Whether an annotated frame counts for an object."""


@dataclass(frozen=True)
class ClassItem(VideoItem):
    """A class in a video of IC-VOS; every frame counts."""

    class_id: int
    class_name: str
    source: str
    support: EpisodeKey | None

    labels = (1,)

    @property
    def mask_folder(self) -> Path:
        return Path(self.video.name, MASKS, str(self.class_id))

    def record(self, objects: Mapping[int, Summary]) -> dict[str, Any]:
        return {
            "item": self.name,
            "video": self.video.name,
            "class_id": self.class_id,
            "class": self.class_name,
            "source": self.source,
            "support": None if self.support is None else list(self.support.support),
            **objects[1],
        }

    def truth(self, frame: int) -> np.ndarray:
        return read_class_mask(self.video, frame).astype(np.uint8)

    def is_scored(self, label: int, frame: int) -> bool:
        return True


@dataclass(frozen=True)
class ObjectsItem(VideoItem):
    """The objects of a video of DAVIS or LVOS, each given on the first frame that shows it.

    Only frames after that count; and not the last one of a DAVIS video, as in its definition.
    """

    skips_last: bool

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(self.given)

    @property
    def mask_folder(self) -> Path:
        return Path(self.video.name)

    def record(self, objects: Mapping[int, Summary]) -> dict[str, Any]:
        return {
            "item": self.name,
            "video": self.video.name,
            **mean_summary(list(objects.values())),
            "objects": {str(label): scores for label, scores in objects.items()},
        }

    def truth(self, frame: int) -> np.ndarray | None:
        return self.video.read_mask(frame) if frame in self.video.masks else None

    def is_scored(self, label: int, frame: int) -> bool:
        last = self.skips_last and frame == len(self.video) - 1
        return frame > self.given[label] and not last


class ItemSource(ABC):
    """The items of a benchmark."""

    names: Sequence[str]
    """Of all items, sorted by video."""
    problems: Mapping[str, str]
    """What cannot even be listed -> why."""

    @abstractmethod
    def open(self, name: str) -> VideoItem:
        """Look at an item's files.

        Raises:
            UsageError: something is wrong with them.
        """

    def by_video(self, names: Sequence[str]) -> list[list[str]]:
        """Items which are followed together, because they are in one video."""
        videos: dict[str, list[str]] = {}
        for name in names:
            videos.setdefault(name.partition("/")[0], []).append(name)
        return list(videos.values())


class ClassItems(ItemSource):
    """Of IC-VOS.

    Args:
        support: draws the support of a video and class, or raises UsageError; None gives the first
            frame's mask instead.
    """

    def __init__(self, benchmark: IcVos, support: Callable[[str, int], EpisodeKey] | None) -> None:
        self.benchmark, self.support = benchmark, support
        self.sources = read_sources(benchmark.root)
        self.names = [f"{video}/{class_id}" for video, class_id in benchmark.items]
        self.problems = benchmark.problems

    def open(self, name: str) -> ClassItem:
        folder, _, number = name.partition("/")
        class_id = int(number)
        video = self.benchmark.open(folder, class_id)
        check_shows_class(video)
        return ClassItem(
            name,
            video,
            {1: 0} if self.support is None else {},
            class_id,
            self.benchmark.class_names[class_id],
            self.sources.get(folder, "unknown" if self.sources else "all"),
            None if self.support is None else self.support(folder, class_id),
        )


class ObjectsItems(ItemSource):
    """Of DAVIS or LVOS."""

    def __init__(self, benchmark: Davis) -> None:
        self.benchmark = benchmark
        self.names, self.problems = benchmark.videos, {}

    def open(self, name: str) -> ObjectsItem:
        video = self.benchmark.open(name)
        given = video.appearances()
        if not given:
            raise UsageError(f"annotation without an object: every mask of video {name} is empty")
        return ObjectsItem(name, video, given, self.benchmark.layout == "DAVIS")
