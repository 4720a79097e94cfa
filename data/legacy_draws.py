"""Episodes as published programs draw them: from NumPy's legacy generator, one after the other.

Source: the programs of HSNet's line (Matcher, SINE, INSID3 and, but for its worker processes,
SANSA): `numpy.random.seed(0)` once, then for each episode the class (where it is drawn), the query
and the supports, each by `choice(list, 1, replace=False)`. A support that is the query is drawn
again, but the same support may come twice. Given lists in the published order, the episodes are the
published ones; otherwise they have the same distribution.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from data.benchmarks import EpisodeKey

Item = TypeVar("Item")

LEGACY_SAMPLERS = (
    *("class_legacy", "turns_legacy", "turns_apart_legacy", "image_legacy"),
    "queries_legacy",
)
"""The class drawn uniformly (COCO-20i, PACO-Part); the classes in turn (LVIS-92i, ISIC, SUIM); the
same, and no support twice (PASCAL-Part); the pairs of image and class in turn (PASCAL-5i,
iSAID-5i); every image once, by class (FSS-1000)."""


def legacy_keys(
    sampler: str, images: Mapping[int, Sequence[str]], shots: int, seed: int, count: int
) -> list[EpisodeKey]:
    """The first `count` episodes.

    Args:
        sampler: one of `LEGACY_SAMPLERS`.
        images: class id -> names of its images, both in the order of the lists.
    """
    random = np.random.RandomState(seed)
    classes = list(images)
    keys: list[EpisodeKey] = []
    if sampler in ("image_legacy", "queries_legacy"):
        rows = [(name, c) for c in classes for name in images[c]]
        if sampler == "image_legacy":
            rows.sort()
        pools = {c: _numbered(images[c]) if "queries" in sampler else images[c] for c in classes}
        for index in range(count):
            query, c = rows[index % len(rows)]
            keys.append(EpisodeKey(c, query, _supports(random, pools[c], query, shots)))
        return keys
    for index in range(count):
        c = _one(random, classes) if sampler == "class_legacy" else classes[index % len(classes)]
        query, again = _one(random, images[c]), sampler != "turns_apart_legacy"
        keys.append(EpisodeKey(c, query, _supports(random, images[c], query, shots, again)))
    return keys


def _one(random: np.random.RandomState, items: Sequence[Item]) -> Item:
    return items[int(random.choice(len(items), 1, replace=False)[0])]


def _supports(
    random: np.random.RandomState, pool: Sequence[str], query: str, shots: int, again: bool = True
) -> tuple[str, ...]:
    """again: the same support may come twice."""
    found: list[str] = []
    while len(found) < shots:
        if (name := _one(random, pool)) != query and (again or name not in found):
            found.append(name)
    return tuple(found)


def _numbered(names: Sequence[str]) -> list[str]:
    """FSS-1000's supports are drawn by number: 1, 2, ... 10, and not as text: 1, 10, 2."""
    return sorted(names, key=lambda name: (len(name), name))
