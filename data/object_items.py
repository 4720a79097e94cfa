"""Items of numbered objects: all those of a video, whose masks are given where they appear."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.errors import UsageError
from common.images import IGNORED
from data.video_items import ItemSource, VideoItem
from data.videos import VideoObjects


class ObjectVideos(Protocol):
    """A benchmark of videos with numbered objects."""

    videos: list[str]
    skips_last: bool
    """Whether the last frame of a video does not count."""

    def objects(self, video: str) -> VideoObjects:
        """Look at a video's folders, or UsageError."""

    def mask_folder(self, video: str) -> Path:
        """Where its masks lie among those that the benchmark takes from others."""


@dataclass(frozen=True)
class ObjectRules:
    """Which objects of a benchmark are segmented, and which pixels count."""

    void: bool = False
    """Pixels of value 255 do not count; else they are background, or an object of that number."""
    merged: bool = False
    """All objects of a video are one, as in DAVIS 2016."""
    first_only: bool = False
    """Only the objects of the first annotated frame, as in SegIC's release."""


@dataclass(frozen=True)
class ObjectsItem(VideoItem):
    """The objects of a video, each given on the first annotated frame that shows it.

    Only frames after that count; and not the last one of a DAVIS video, as in its definition.
    """

    objects: VideoObjects
    skips_last: bool
    rules: ObjectRules
    inside: frozenset[int] = field(default_factory=frozenset)
    """The values in masks that are one object where all are merged; else empty."""

    numbered = True

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(self.given)

    @property
    def facts(self) -> dict[str, Any]:
        return {"item": self.name, "video": self.video.name}

    def object_facts(self, label: int) -> dict[str, Any]:
        return dict(self.objects.facts.get(label, {}))

    def is_asked(self, frame: int) -> bool:
        return self.objects.asked is None or frame in self.objects.asked

    def truth(self, frame: int) -> np.ndarray | None:
        if frame not in self.video.masks:
            return None
        mask = self._merged(self.video.read_mask(frame))
        if not self.rules.void and IGNORED not in self.labels:
            mask[mask == IGNORED] = 0
        return mask

    def given_map(self, frame: int) -> np.ndarray:
        mask = self._merged(self.given_from.read_mask(frame))
        return np.where(np.isin(mask, self.given_on(frame)), mask, 0)

    def is_scored(self, label: int, frame: int) -> bool:
        last = self.skips_last and frame == len(self.video) - 1
        return self.objects.complete and frame > self.given[label] and not last

    def _merged(self, mask: np.ndarray) -> np.ndarray:
        if self.inside:
            mask[np.isin(mask, list(self.inside))] = 1
        return mask


class ObjectsItems(ItemSource):
    """All videos of a benchmark."""

    def __init__(
        self,
        benchmark: ObjectVideos,
        rules: ObjectRules = ObjectRules(),
        given_folder: Path | None = None,
    ) -> None:
        self.benchmark, self.rules, self.given_folder = benchmark, rules, given_folder
        self.names, self.problems, self.class_names = benchmark.videos, {}, {}

    def open(self, name: str) -> VideoItem:
        objects = self.benchmark.objects(name)
        given = objects.given
        if not given:
            raise UsageError(f"annotation without an object: every mask of video {name} is empty")
        first, inside = min(given.values()), frozenset()
        if self.rules.first_only:
            given = {label: frame for label, frame in given.items() if frame == first}
        if self.rules.merged:
            given, inside = {1: first}, frozenset({*given, 1})
        item = ObjectsItem(
            name,
            objects.video,
            given,
            objects.video,
            self.mask_folder(name),
            objects,
            self.benchmark.skips_last,
            self.rules,
            inside,
        )
        return self._checked(item)

    def mask_folder(self, name: str) -> Path:
        return self.benchmark.mask_folder(name)
