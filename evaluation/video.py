"""Follow the items of one video through its frames, and score them.

Shapes: H0 and W0 a video's own height and width, S the side to which frames are squashed, N the
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
from common.pixels import squash_image
from common.trainer import autocast
from data.benchmarks import Split
from data.icvos import read_supports
from data.video_items import ItemSource, VideoItem
from evaluation.item_log import Record
from evaluation.item_results import Frame, ItemResults, ResultFolder
from model.dc_sam.network import Concept
from model.dc_sam.video import DcSamVideo, RunningVideo
from model.sam.following import GivenObjects, visible_logits


@dataclass(frozen=True)
class VideoMethod:
    """A method, and how it follows videos."""

    model: DcSamVideo
    side: int
    """S."""
    split: Split | None
    """Where the supports' images are read; None: masks are given."""
    prompt_every: int
    precision: str
    device: torch.device

    @torch.no_grad()
    def encode_support(self, item: VideoItem) -> Concept | None:
        """What an item's support says; None where masks are given."""
        if item.given:
            return None
        images, masks = read_supports(self.split, item.support, self.side)
        with autocast(self.device, self.precision):
            return self.model.learn(images.to(self.device), masks.to(self.device))


class RunningItems:
    """The items of a video, followed frame by frame."""

    def __init__(
        self,
        method: VideoMethod,
        items: Sequence[VideoItem],
        supports: Sequence[Concept | None],
        length: int,
    ) -> None:
        """length: how many frames will be looked at."""
        self.method = method
        self.objects = [(item, label) for item in items for label in item.labels]
        if items[0].given:
            self.video = GivenObjects(method.model, len(self.objects), length)
        else:
            self.video = RunningVideo(method.model, supports, method.prompt_every, length)

    def step(self, frame: int, pixels: np.ndarray, given: Mapping[str, np.ndarray]) -> Tensor:
        """Segment the next frame.

        Args:
            pixels: H0 x W0 x 3 uint8.
            given: item -> the label map of the masks that are given on this frame.

        Returns:
            Logits, N x S x S.
        """
        images = squash_image(pixels, self.method.side)[None].to(self.method.device)
        masks = {
            row: torch.from_numpy(given[item.name] == label)
            for row, (item, label) in enumerate(self.objects)
            if item.name in given and label in item.given_on(frame)
        }
        with autocast(self.method.device, self.method.precision):
            if isinstance(self.video, GivenObjects):
                return self.video.step(images, masks)
            return visible_logits(self.video.step(images))


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
    source: ItemSource,
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
    for name in names:
        with failures.caught(name):
            item = source.open(name)
            supports[name] = method.encode_support(item)
            items[name] = item
    results = {name: ItemResults(item, folder, name in shown) for name, item in items.items()}
    try:
        if items:
            length = folder.length(next(iter(items.values())).video)
            running = RunningItems(method, [*items.values()], [*supports.values()], length)
            with failures.caught(*items):  # what is wrong with a frame is wrong with all
                _follow(items, running, results, length, failures)
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


def _follow(
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
