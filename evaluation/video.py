"""Follows the items of one video through its frames, whatever finds them, and scores them."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from common.errors import UsageError
from evaluation.item_log import Record
from evaluation.item_results import ItemResults, ResultFolder
from evaluation.video_items import ItemSource, VideoItem

Step = Callable[[np.ndarray, dict[int, np.ndarray]], Tensor]
"""From a frame (H0 x W0 x 3 uint8) and the masks given on it (object -> H0 x W0 bool) to logits,
N x S x S: the objects of all items, in their order."""


def evaluate_items(
    names: Sequence[str],
    source: ItemSource,
    folder: ResultFolder,
    shown: Collection[str],
    learn: Callable[[VideoItem], Any],
    begin: Callable[[list[VideoItem], list[Any], int], Step],
) -> list[Record]:
    """Evaluate items of one video, which share its frames; one that fails spares the others.

    Args:
        names: of the items.
        shown: items whose tiles are kept for a contact sheet.
        learn: takes in an item's support.
        begin: starts to follow items, given what was learned of each and the number of frames.

    Returns:
        The records of the items in their order; one with an "error" for each that failed.
    """
    failed: dict[str, str] = {}

    def attempt(name: str, function: Callable, *given: Any) -> Any:
        if name not in failed:
            try:
                return function(*given)
            except UsageError as error:
                failed[name] = str(error)
        return None

    items = {name: attempt(name, source.open, name) for name in names}
    learned = {name: attempt(name, learn, item) for name, item in items.items()}
    items = {name: item for name, item in items.items() if name not in failed}
    results = {name: ItemResults(item, folder, name in shown) for name, item in items.items()}
    with ExitStack() as stack:
        for result in results.values():
            stack.callback(result.discard)
        if items:
            opened = list(items.values())
            length = folder.length(opened[0].video)
            step = begin(opened, [learned[name] for name in items], length)
            try:
                _follow(items, results, length, step, attempt)
            except UsageError as error:  # of the frames, which all share
                failed |= {name: str(error) for name in items if name not in failed}
        records = {name: attempt(name, result.record) for name, result in results.items()}
    return [
        {"item": name, "error": failed[name]} if name in failed else records[name] for name in names
    ]


def _follow(
    items: dict[str, VideoItem],
    results: dict[str, ItemResults],
    length: int,
    step: Step,
    attempt: Callable,
) -> None:
    objects = [(name, label) for name, item in items.items() for label in item.labels]
    video = next(iter(items.values())).video
    with video.reader() as reader:
        for frame, pixels in enumerate(islice(reader, length)):
            truths = {name: attempt(name, item.truth, frame) for name, item in items.items()}
            given = {
                row: truths[name] == label
                for row, (name, label) in enumerate(objects)
                if items[name].given.get(label) == frame and truths[name] is not None
            }
            logits = step(pixels, given)
            first = 0
            for name, item in items.items():
                part = logits[first : first + len(item.labels)]
                first += len(item.labels)
                attempt(name, results[name].add, frame, pixels, truths[name], part)
