"""Whether a difference between two methods is more than chance: a paired bootstrap.

Both methods were scored on the same units: episodes of images, or videos. Units are drawn anew with
replacement, the same for both, and the measure is computed again from those that were drawn: mIoU
from the sums of intersections and unions of each class, not as a mean over episodes; J&F as the
mean over the objects of the drawn videos, because objects of one video stand or fall together.
Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), sections 13.3 (percentile
interval) and 8.
Shapes: R resamples, E units, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from common.errors import UsageError

RESAMPLES = 10_000
SQUARE, ORIGINAL = "square", "original_size"
"""At which size masks are compared: the network's, or the pictures' own."""
PROTOCOL = "protocol"
"""Masks are compared at the protocol's size."""
LEVEL = 95
"""Percent of the resampled measures that lie within an interval."""
_AT_ONCE = 200
"""Resamples that are computed together."""


class Scores(Protocol):
    """What a method scored on the units of one run."""

    scored: tuple[str, ...]
    """What was scored, in order; two methods can be compared where these are equal."""

    def __len__(self) -> int:
        """E, the units that are drawn."""

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        """The measure in percent, R.

        Args:
            counts: how often each unit was drawn, R x E.
        """


@dataclass(frozen=True)
class EpisodeAreas:
    """Areas of the object in episodes of images: the measure is mIoU."""

    scored: tuple[str, ...]
    """What each episode shows: its class, query and supports; in the order of classes."""
    starts: np.ndarray
    """The first episode of each class, C."""
    intersections: np.ndarray
    """E, pixels."""
    unions: np.ndarray
    """E, pixels."""

    @classmethod
    def read(cls, records: Sequence[Mapping[str, Any]], size: str = SQUARE) -> Self:
        """From the lines of `items.jsonl` that `eval_image.py` writes.

        Args:
            size: at which size masks are compared, `SQUARE`, `ORIGINAL` or `PROTOCOL`.
        """
        ordered = sorted(records, key=lambda record: record["class_id"])
        classes = np.array([record["class_id"] for record in ordered])
        areas = np.array([record[size][:2] for record in ordered], dtype=np.float64)
        return cls(
            tuple(f"{one['class_id']} {one['query']} {one['support']}" for one in ordered),
            np.flatnonzero(np.diff(classes, prepend=classes[0] - 1)),
            areas[:, 0],
            areas[:, 1],
        )

    def __len__(self) -> int:
        return len(self.scored)

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        """Classes of which nothing was drawn are left out, as in `EpisodeScores.miou`."""
        drawn, inside, union = (
            np.add.reduceat(counts * weights, self.starts, axis=1)
            for weights in (1.0, self.intersections, self.unions)
        )
        iou = inside / np.maximum(union, 1)
        return 100 * iou.sum(1) / (drawn > 0).sum(1)


@dataclass(frozen=True)
class VideoScores:
    """Scores of objects, or of classes, in videos: the measure is the mean over them."""

    scored: tuple[str, ...]
    """All objects, in the order of their videos."""
    totals: np.ndarray
    """The sum of the scores of each video, E."""
    objects: np.ndarray
    """How many scores that are, E."""

    @classmethod
    def read(
        cls, records: Sequence[Mapping[str, Any]], size: str = ORIGINAL, measure: str = "jf"
    ) -> Self:
        """From the lines of `items.jsonl` that `eval_video.py` writes; failed items do not count.

        Args:
            size: at which size masks are compared; the original one is the same for any method.
            measure: jf, j or f.

        Raises:
            UsageError: nothing has a score.
        """
        scores: dict[str, dict[str, float]] = {}
        for record in records:
            if "error" in record:
                continue
            for name, row in record.get("objects", {"": record}).items():
                score = row[size][measure]
                if score is not None:
                    scores.setdefault(record["video"], {})[f"{record['item']} {name}"] = score
        if not scores:
            raise UsageError("no item has a score: nothing says where the objects are")
        videos = [scores[video] for video in sorted(scores)]
        return cls(
            tuple(name for video in videos for name in sorted(video)),
            np.array([sum(video.values()) for video in videos]),
            np.array([len(video) for video in videos], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.totals)

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        return (counts @ self.totals) / (counts @ self.objects)


@dataclass(frozen=True)
class Interval:
    """A measure, or a difference of two, and between what it lies if other units are drawn."""

    value: float
    """Of all units as they are."""
    low: float
    high: float
    resamples: int = RESAMPLES
    seed: int = 0

    @property
    def differs(self) -> bool:
        """Whether 0 lies outside: of a difference, that it is more than chance at this level."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        """For `results.json`."""
        facts = {"level": LEVEL, "resamples": self.resamples, "seed": self.seed}
        return {"value": self.value, "low": self.low, "high": self.high, **facts}


def interval(runs: Sequence[Scores], resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of a measure over runs (such as seeds of episodes), each with units of its own."""
    return _interval(runs, [None] * len(runs), resamples, seed)


def paired_interval(
    runs: Sequence[Scores], others: Sequence[Scores], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """By how much a measure of one method is above that of another on the same units.

    Args:
        runs, others: of both methods, of the same runs (such as seeds of episodes) in one order.
        resamples: R. They are a function of the seed alone.

    Raises:
        UsageError: they were not scored on the same.
    """
    if [one.scored for one in runs] != [other.scored for other in others]:
        raise UsageError("the two were not scored on the same episodes or videos")
    return _interval(runs, others, resamples, seed)


def draws(units: int, resamples: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Which units are in each resample, R x E, some rows at a time."""
    for start in range(0, resamples, _AT_ONCE):
        yield random.integers(units, size=(min(_AT_ONCE, resamples - start), units))


def _counts(drawn: np.ndarray) -> np.ndarray:
    """How often each unit was drawn, R x E."""
    rows, units = drawn.shape
    places = drawn + units * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * units).reshape(rows, units).astype(float)


def _interval(
    runs: Sequence[Scores], others: Sequence[Scores | None], resamples: int, seed: int
) -> Interval:
    """Of the mean over runs; each run's units are drawn by themselves.

    Runs of the same units are drawn alike: seeds that change no unit add none to the sample.
    """
    value, drawn = 0.0, np.zeros(resamples)
    scored = [run.scored for run in runs]
    for run, other in zip(runs, others, strict=True):
        random = np.random.default_rng((seed, scored.index(run.scored)))
        value += _difference(run, other, np.ones((1, len(run))))[0]
        parts = draws(len(run), resamples, random)
        drawn += np.concatenate([_difference(run, other, _counts(part)) for part in parts])
    low, high = np.percentile(drawn / len(runs), [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Interval(float(value / len(runs)), float(low), float(high), resamples, seed)


def _difference(run: Scores, other: Scores | None, counts: np.ndarray) -> np.ndarray:
    measure = run.resampled(counts)
    return measure if other is None else measure - other.resampled(counts)
