"""What an evaluation keeps of one item: its scores, masks, overlay video and tiles for a sheet.

Shapes: S side of the network's logits, H0 and W0 the video's own size, N objects of the item.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.images import read_image
from common.pixels import squash_mask
from common.video_io import VideoWriter, write_indexed_mask
from common.visualize import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    SheetRow,
    contact_sheet,
    label_overlay,
    overlay_tile,
    write_png,
)
from data.image_io import IGNORED
from data.videos import AnnotatedVideo
from evaluation.jf import Summary, TubeScores
from evaluation.video_items import VideoItem

ORIGINAL = "original_size"
SHEET_FRAMES = 6
"""Columns of a contact sheet."""


@dataclass(frozen=True)
class ResultFolder:
    """Where results go, and which."""

    path: Path
    side: int | None
    """Also score at this square size, and take that for the protocol's; None: only the original."""
    frames: int | None
    """At most so many of each video."""
    masks: bool = False
    overlays: bool = False

    @property
    def squashed(self) -> str | None:
        """What the scores at the square size are called."""
        return f"at_{self.side}x{self.side}" if self.side else None

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

    def add(self, frame: int, pixels: np.ndarray, truth: np.ndarray | None, logits: Tensor) -> None:
        """Score and write a frame.

        Args:
            pixels: H0 x W0 x 3 uint8.
            truth: its label map, if it is annotated.
            logits: N x S x S, of the item's objects in their order.

        Raises:
            UsageError: a file cannot be written.
        """
        item = self.item
        given = [label for label, first in item.given.items() if first == frame]
        predicted = label_map(logits, item.labels, pixels.shape[:2])
        if given:  # somebody gave these masks: they are no prediction
            predicted[np.isin(predicted, given)] = 0
            predicted = np.where(np.isin(truth, given), truth, predicted)
        if truth is not None:
            ignore = truth == IGNORED
            for label in item.labels:
                if item.is_scored(label, frame):
                    mask, shown = truth == label, bool((truth == label).any())
                    self._scores[label][ORIGINAL].add(predicted == label, mask, shown, ignore)
                    if self.folder.side:
                        squashed = squash_mask(mask, self.folder.side).numpy() > 0
                        found = logits[item.labels.index(label)].cpu().numpy() > 0
                        if label in given:
                            found = squashed
                        self._scores[label][self.folder.squashed].add(found, squashed, shown)
        self._draw(frame, pixels, truth, predicted)

    def _draw(
        self, frame: int, pixels: np.ndarray, truth: np.ndarray | None, predicted: np.ndarray
    ) -> None:
        item, folder = self.item, self.folder
        if folder.masks:
            name = f"{item.video.frames[frame].stem}.png"
            write_indexed_mask(folder.path / "masks" / item.mask_folder / name, predicted)
        if self._video:
            self._video.write(label_overlay(pixels, predicted, item.labels))
        if frame in self._shown:
            real = np.isin(truth, item.labels)
            pair = (
                overlay_tile(pixels, real, TRUTH_COLOUR),
                overlay_tile(pixels, predicted > 0, PREDICTION_COLOUR),
            )
            self._tiles += [pair] * self._shown.count(frame)

    def record(self) -> dict[str, Any]:
        """Finish all files but the item's line in the log, which this is."""
        if self._video:
            self._video.close()
        if self._tiles:
            rows = [np.concatenate(row, axis=1) for row in zip(*self._tiles, strict=True)]
            write_png(self.folder.tiles(self.item.name), np.concatenate(rows))
        objects = {label: self._summary(label) for label in self.item.labels}
        return {**self.item.record(objects), "frames": self.folder.length(self.item.video)}

    def discard(self) -> None:
        """Remove what is half written."""
        if self._video:
            self._video.discard()

    def _summary(self, label: int) -> Summary:
        """Of an object: its scores at the protocol's size, and at each size."""
        sizes = {size: scores.summary() for size, scores in self._scores[label].items()}
        return {**next(iter(sizes.values())), **sizes}


def label_map(logits: Tensor, labels: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """The label of the highest logit above 0 of every pixel, else 0.

    Args:
        logits: N x S x S.
        size: H0 and W0.

    Returns:
        H0 x W0 uint8.
    """
    if logits.shape[-2:] != size:
        logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    highest, row = logits.max(dim=0)
    values = torch.tensor(labels, dtype=torch.uint8, device=logits.device)
    return torch.where(highest > 0, values[row], 0).cpu().numpy()


def video_sheet(folder: ResultFolder, rows: dict[str, tuple[str, str]], title: str) -> np.ndarray:
    """Lay out the tiles that were kept: for each item a line of truth and one of prediction.

    Args:
        rows: item -> what is written beside its two lines.

    Returns:
        The sheet, H x W x 3 uint8.
    """
    lines = []
    for name, (label, detail) in rows.items():
        truth, predicted = np.split(read_image(folder.tiles(name)), 2)
        for strip, words in ((truth, (label, "ground truth")), (predicted, ("prediction", detail))):
            lines.append(SheetRow(np.split(strip, SHEET_FRAMES, axis=1), *words))
    header = ["first frame", *[""] * (SHEET_FRAMES - 2), "last frame"]
    return contact_sheet(header, lines, title)
