"""Segment the items of one video through its frames, and score them.

Shapes: H0 and W0 a video's own height and width, S the side of the square that is taken, N the
objects of all items of a video, in their order.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from common.errors import UsageError
from common.trainer import autocast
from data.video_benchmarks import VideoBenchmark
from data.video_items import VideoItem
from evaluation.item_log import Record
from evaluation.item_results import Frame, ItemResults, ResultFolder
from evaluation.video_method import VideoMethod
from model.method_data import Support
from model.sam.sam2 import ABSENT_LOGIT


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
            logits[self.appeared] = found.logits.float()
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
