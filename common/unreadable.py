"""Data sets that go on where a file cannot be read, where that is asked for (`--skip_bad`)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from common.errors import UsageError

ATTEMPTS = 100
"""So many items are tried for a place at most."""
_OTHERS = 6
"""Keeps these numbers apart from those that episodes and pairs are drawn by."""

Read = tuple[Any, list[str]]
"""An item or a batch, None where there is none, and a line for each file that was met."""


class Tolerant(Dataset[Read]):
    """A data set of batches of one that names unreadable items instead of ending with them.

    Args:
        items: what is read; it has `join`, and its items have `indices`.
        instead: which items are tried in the place of an unreadable one, by its index; without
            them it is left out.
    """

    def __init__(
        self, items: Dataset, instead: Callable[[int], Iterable[int]] | None = None
    ) -> None:
        self.items, self.instead = items, instead

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Read:
        """
        Raises:
            UsageError: nothing that was tried can be read.
        """
        lines: list[str] = []
        for place in self._places(index):
            try:
                item = self.items[place]
            except UsageError as error:
                lines.append(str(error))
            else:
                return item if place == index else replace(item, indices=(index,)), lines
        if self.instead is not None:
            raise UsageError(f"{len(lines)} items in a row cannot be read, the last: {lines[-1]}")
        return None, lines

    def _places(self, index: int) -> Iterator[int]:
        yield index
        if self.instead is not None:
            yield from self.instead(index)

    def join(self, read: Sequence[Read]) -> Read:
        """A batch of those that could be read; None: none could."""
        items = [item for item, _ in read if item is not None]
        return self.items.join(items) if items else None, [one for _, some in read for one in some]


def drawn_instead(seed: int, epoch: int, length: int) -> Callable[[int], Iterable[int]]:
    """Other items of an epoch for a place in it, a pure function of (seed, epoch, index)."""

    def others(index: int) -> list[int]:
        random = np.random.default_rng((seed, epoch, index, _OTHERS))
        return random.integers(length, size=ATTEMPTS).tolist()

    return others
