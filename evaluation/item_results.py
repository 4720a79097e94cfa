"""What an evaluation keeps of one item: its scores, masks, overlay video and tiles for a sheet.

Shapes: S side of the network's logits, H0 and W0 the video's own size, N objects of the item.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from common.geometry import Geometry
from common.images import IGNORED
from common.video_io import VideoWriter, write_indexed_mask
from common.visualize import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    label_overlay,
    overlay_tile,
    write_png,
)
from data.video_items import VideoItem
from data.videos import AnnotatedVideo
from evaluation.jf import Summary, TubeScores, mean_summary
from evaluation.scoring_size import ORIGINAL as OWN_SIZE
from evaluation.significance import ORIGINAL
from model.label_map import label_map

SHEET_FRAMES = 6
"""Columns of a contact sheet."""


@dataclass(frozen=True)
class ResultFolder:
    """Where results go, and which."""

    path: Path
    geometry: Geometry
    """How frames came to the network's square."""
    square: bool
    """Also score at the square size, and take that for the protocol's."""
    frames: int | None
    """At most so many of each video."""
    masks: bool = False
    overlays: bool = False

    @property
    def squashed(self) -> str | None:
        """What the scores at the square size are called."""
        side = self.geometry.side
        return f"at_{side}x{side}" if self.square else None

    @property
    def compared_size(self) -> str:
        """The protocol's size as `evaluation.scoring_size` calls it."""
        how = "padded" if self.geometry.padded else "squashed"
        return f"{self.geometry.side} {how}" if self.square else OWN_SIZE

    @property
    def sizes(self) -> tuple[str, ...]:
        """What the scores at each size are called; the protocol's first."""
        return (self.squashed, ORIGINAL) if self.squashed else (ORIGINAL,)

    def length(self, video: AnnotatedVideo) -> int:
        """How many frames of a video are looked at."""
        return min(len(video), self.frames or len(video))

    def tiles(self, name: str) -> Path:
        """The tiles of an item for a contact sheet."""
        return self.path / "tiles" / f"{name}.png"


@dataclass(frozen=True)
class Frame:
    """A frame of a video, and what is known about an item in it."""

    number: int
    pixels: np.ndarray
    """H0 x W0 x 3 uint8."""
    truth: np.ndarray | None
    """The item's label map, if the frame is annotated."""
    given: np.ndarray | None
    """The label map of the masks that are given on this frame, if there are any."""


class ItemResults:
    """Takes an item's frames one by one; `record` ends it, `discard` leaves nothing half done."""

    def __init__(self, item: VideoItem, folder: ResultFolder, sheet: bool = False) -> None:
        """sheet: keep tiles for a contact sheet."""
        self.item, self.folder = item, folder
        self._scores = {
            label: {size: TubeScores() for size in folder.sizes} for label in item.labels
        }
        self._video = None
        if folder.overlays:
            self._video = VideoWriter(folder.path / "overlays" / f"{item.name}.mp4")
        annotated = [n for n in sorted(item.video.masks) if n < folder.length(item.video)]
        places = np.linspace(0, len(annotated) - 1, SHEET_FRAMES).round().astype(int)
        self._shown = [annotated[place] for place in places] if sheet else []
        self._tiles: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, frame: Frame, logits: Tensor) -> None:
        """Score and write a frame.

        Args:
            logits: N x S x S, of the item's objects in their order.

        Raises:
            UsageError: a file cannot be written.
        """
        item, given = self.item, self.item.given_on(frame.number)
        size = frame.pixels.shape[:2]
        shown = self.folder.geometry.crop(logits, size)
        objects = label_map(shown, range(len(item.labels)), size)
        predicted = np.array([0, *item.labels], np.uint8)[objects]
        if given:  # somebody gave these masks: they are their own result
            predicted[np.isin(predicted, given)] = 0
            predicted = np.where(frame.given > 0, frame.given, predicted)
        if frame.truth is not None:
            for label, one in zip(item.labels, logits, strict=True):
                if item.is_scored(label, frame.number):
                    found = one.cpu().numpy() > 0
                    if label in given and self.folder.square:
                        found = self._squashed(frame.given == label)
                    self._score(label, frame.truth, predicted, found)
        self._draw(frame, predicted)

    def _score(
        self, label: int, truth: np.ndarray, predicted: np.ndarray, found: np.ndarray
    ) -> None:
        """Score an object in a frame.

        Args:
            truth, predicted: label maps, H0 x W0.
            found: where the object was found at the network's size, S x S bool.
        """
        scores, mask = self._scores[label], truth == label
        shown = bool(mask.any())
        ignore = None if IGNORED in self.item.labels else truth == IGNORED
        scores[ORIGINAL].add(predicted == label, mask, shown, ignore)
        if self.folder.square:
            scores[self.folder.squashed].add(found, self._squashed(mask), shown)

    def _squashed(self, mask: np.ndarray) -> np.ndarray:
        return self.folder.geometry.mask(mask).numpy() > 0

    def _draw(self, frame: Frame, predicted: np.ndarray) -> None:
        item, folder, pixels = self.item, self.folder, frame.pixels
        if folder.masks and item.is_asked(frame.number):
            name = f"{item.video.frames[frame.number].stem}.png"
            write_indexed_mask(folder.path / "masks" / item.mask_folder / name, predicted)
        if self._video:
            self._video.write(label_overlay(pixels, predicted, {c: c for c in item.labels}))
        if frame.number in self._shown:
            pair = (
                overlay_tile(pixels, np.isin(frame.truth, item.labels), TRUTH_COLOUR),
                overlay_tile(pixels, predicted > 0, PREDICTION_COLOUR),
            )
            self._tiles += [pair] * self._shown.count(frame.number)

    def record(self) -> dict[str, Any]:
        """Finish all files but the item's line in the log, which this is."""
        if self._video:
            self._video.close()
        if self._tiles:
            rows = [np.concatenate(row, axis=1) for row in zip(*self._tiles, strict=True)]
            write_png(self.folder.tiles(self.item.name), np.concatenate(rows))
        objects = {label: self._summary(label) for label in self.item.labels}
        length = self.folder.length(self.item.video)
        scores = objects[self.item.labels[0]]
        if self.item.numbered:
            numbered = {
                str(label): {**summary, **self.item.object_facts(label)}
                for label, summary in objects.items()
            }
            scores = {**mean_summary([*objects.values()]), "objects": numbered}
        return {**self.item.facts, **scores, "frames": length}

    def discard(self) -> None:
        """Remove what is half written."""
        if self._video:
            self._video.discard()

    def _summary(self, label: int) -> Summary:
        """Of an object: its scores at the protocol's size, and at each size."""
        sizes = {size: scores.summary() for size, scores in self._scores[label].items()}
        return {**next(iter(sizes.values())), **sizes}
