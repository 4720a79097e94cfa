"""Segment the items of one video through its frames, and score them.

Shapes: H0 and W0 a video's own height and width, S the side of the square that is taken, N the
objects of all items of a video, in their order.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from common.errors import UsageError
from common.geometry import Geometry
from common.trainer import autocast
from data.benchmarks import Split
from data.episode import read_supports
from data.video_benchmarks import VideoBenchmark
from data.video_items import VideoItem
from evaluation.item_log import Record
from evaluation.item_results import Frame, ItemResults, ResultFolder
from model.first_frame import first_frame_video
from model.method import Method, Support, VideoState
from model.sam.sam2 import ABSENT_LOGIT, Sam2
from model.sam.video_predictor import VideoPredictor, VideoWiring


@dataclass(frozen=True)
class VideoMethod:
    """What segments videos: a method, or SAM 2 alone where masks are given."""

    method: Method | None
    """None: masks are given."""
    segmenter: Sam2 | None
    """Carries masks on, given ones or those of a method; None: the method does all by itself."""
    wiring: VideoWiring
    geometry: Geometry
    """How frames come to the square S x S."""
    prompt_every: int
    precision: str
    device: torch.device

    @property
    def takes_empty_masks(self) -> bool:
        """Whether an object that is given by an empty mask is told to it; else it is not there."""
        return self.segmenter is not None

    def video(self, supports: Sequence[Support], length: int) -> VideoState:
        """Begin a video with supports, or with none where masks are given.

        Args:
            length: how many frames will be looked at.
        """
        if self.segmenter is None:
            return self.method.video(supports, self.prompt_every, length, self.wiring)
        if not supports:
            return VideoPredictor(self.segmenter, wiring=self.wiring, length=length)
        return first_frame_video(
            self.method, supports, self.segmenter, self.prompt_every, length, self.wiring
        )

    @torch.no_grad()
    def encode_support(self, item: VideoItem, split: Split | None) -> Support | None:
        """What an item's support says; None where masks are given.

        Args:
            split: where the supports' images are read.
        """
        if item.given:
            return None
        support = read_supports(split, item.support, self.geometry)
        images = support.images[0].to(self.device)
        with autocast(self.device, self.precision):
            encoded = self.method.encode(images, support_only=True, sizes=support.sizes[0])
            masks = support.masks.to(self.device)
            return self.method.encode_support(encoded, masks, names=[item.class_name])


class RunningItems:
    """The items of a video, segmented frame by frame."""

    def __init__(
        self,
        method: VideoMethod,
        items: Sequence[VideoItem],
        supports: Sequence[Support | None],
        length: int,
    ) -> None:
        """length: how many frames will be looked at."""
        self.method = method
        self.objects = [(item, label) for item in items for label in item.labels]
        self.appeared = [] if items[0].given else list(range(len(self.objects)))
        """Positions of the objects that are looked for by now, in the video's own order."""
        self.video = method.video([] if items[0].given else supports, length)

    def step(self, frame: int, pixels: np.ndarray, given: Mapping[str, np.ndarray]) -> Tensor:
        """Segment the next frame.

        Args:
            pixels: H0 x W0 x 3 uint8.
            given: item -> the label map of the masks that are given on this frame.

        Returns:
            Logits, N x S x S; `ABSENT_LOGIT` of objects that were not given yet.
        """
        side, device = self.method.geometry.side, self.method.device
        logits = torch.full((len(self.objects), side, side), ABSENT_LOGIT, device=device)
        masks = self._begin(frame, given)
        if self.appeared:
            images = self.method.geometry.image(pixels)[None].to(device)
            sizes = torch.tensor([pixels.shape[:2]])
            with autocast(device, self.method.precision):
                found = self.video.step(images, masks, sizes=sizes)
            logits[self.appeared] = found.logits
        return logits

    def _begin(self, frame: int, given: Mapping[str, np.ndarray]) -> Tensor | None:
        """The masks of the objects that begin on a frame, N x H0 x W0 bool; None: nobody does."""
        masks = []
        for row, (item, label) in enumerate(self.objects):
            if item.name in given and label in item.given_on(frame):
                mask = given[item.name] == label
                if mask.any() or self.method.takes_empty_masks:
                    masks.append(torch.from_numpy(mask))
                    self.appeared.append(row)
        return torch.stack(masks) if masks else None


class Failures(dict[str, str]):
    """Item -> what was wrong with it."""

    @contextmanager
    def caught(self, *names: str) -> Iterator[None]:
        """Wrong use within is a failure of these items; what failed first stays."""
        try:
            yield
        except UsageError as error:
            for name in names:
                self.setdefault(name, str(error))


def evaluate_items(
    names: Sequence[str],
    benchmark: VideoBenchmark,
    method: VideoMethod,
    folder: ResultFolder,
    shown: Collection[str],
) -> list[Record]:
    """Evaluate items of one video, which share its frames; one that fails spares the others.

    Args:
        names: of the items.
        shown: items whose tiles are kept for a contact sheet.

    Returns:
        The records of the items in their order; one with an "error" for each that failed.
    """
    failures, items, supports, records = Failures(), {}, {}, {}
    source = benchmark.items
    for name in names:
        with failures.caught(name):
            item = source.open(name)
            supports[name] = method.encode_support(item, benchmark.split)
            items[name] = item
    results = {name: ItemResults(item, folder, name in shown) for name, item in items.items()}
    try:
        if items:
            length = folder.length(next(iter(items.values())).video)
            running = RunningItems(method, [*items.values()], [*supports.values()], length)
            with failures.caught(*items):  # what is wrong with a frame is wrong with all
                _segment(items, running, results, length, failures)
        for name, result in results.items():
            if name not in failures:
                with failures.caught(name):
                    records[name] = {**result.record(), "first_mask": source.given_hash(name)}
    finally:
        for result in results.values():
            result.discard()
    return [
        {"item": name, "error": failures[name]} if name in failures else records[name]
        for name in names
    ]


def _segment(
    items: Mapping[str, VideoItem],
    running: RunningItems,
    results: Mapping[str, ItemResults],
    length: int,
    failures: Failures,
) -> None:
    video = next(iter(items.values())).video
    with video.reader() as reader:
        for frame, pixels in enumerate(islice(reader, length)):
            truths, given = {}, {}
            for name, item in items.items():
                with failures.caught(name):
                    truths[name] = item.truth(frame)
                    if item.given_on(frame):
                        given[name] = item.given_map(frame)
            logits = running.step(frame, pixels, given)
            parts = logits.split([len(item.labels) for item in items.values()])
            for name, part in zip(items, parts, strict=True):
                if name not in failures:
                    with failures.caught(name):
                        results[name].add(Frame(frame, pixels, truths[name], given.get(name)), part)
