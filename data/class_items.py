"""The items of IC-VOS: a class of a video, with a support or with the mask of its first frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data.benchmarks import EpisodeKey
from data.icvos import MASKS, IcVos, check_shows_class, read_class_mask, read_sources
from data.video_items import ItemSource, VideoItem


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


class SupportChoice(Protocol):
    """Which support belongs to a class of a video."""

    def key(self, video: str, class_id: int) -> EpisodeKey:
        """The item as an episode whose query is the video, or UsageError."""


class ClassItems(ItemSource):
    """All of IC-VOS.

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


def _video_and_class(name: str) -> tuple[str, int]:
    video, _, class_id = name.partition("/")
    return video, int(class_id)
