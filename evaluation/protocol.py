"""Named protocols: what makes two numbers on a benchmark comparable, one file for each."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from common.errors import UsageError

FOLDER = Path(__file__).parent / "protocols"
SCORES = ("miou", "miou_original_size")
"""Which of the results is meant: at the network's size, or at the images' own."""


def protocol_names() -> tuple[str, ...]:
    """All names; the one that a benchmark has by default is the benchmark's."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is tested."""

    name: str
    benchmark: str
    sampler: str
    """One of `data.sampler.SAMPLERS`."""
    score: str
    """One of `SCORES`."""
    source: str
    """Who tests so."""
    episodes: int | None = None
    """None: every image of every class is a query once."""
    at_most_images: bool = False
    """No more episodes than the fold has images."""
    folds_by_shots: bool = False
    """Divide anew for each number of shots the classes that have images enough."""
    voc_words: bool = False
    """Call COCO's categories by VOC's words where there are any."""
    reader: Mapping[str, Any] = field(default_factory=dict)
    """Options of the benchmark's reader."""

    @classmethod
    def named(cls, name: str | None, benchmark: str | None) -> Self:
        """Read a protocol.

        Args:
            name: None: the benchmark's own.
            benchmark: None: the protocol's.

        Raises:
            UsageError: it is the protocol of another benchmark.
        """
        with (FOLDER / f"{name or benchmark}.toml").open("rb") as file:
            found = cls(name=name or str(benchmark), **tomllib.load(file))
        if benchmark not in (None, found.benchmark):
            raise UsageError(f"--protocol {name} is one of {found.benchmark}, not of {benchmark}")
        return found

    def reader_options(self, shots: int) -> dict[str, Any]:
        """What the benchmark's reader is to be told."""
        return {**self.reader, **({"fold_shots": shots} if self.folds_by_shots else {})}

    def count(self, images: int, queries: int) -> int:
        """How many episodes are meant.

        Args:
            images: of the fold.
            queries: how many episodes there are where every image of every class is a query once.
        """
        if self.episodes is None:
            return queries
        return min(self.episodes, images) if self.at_most_images else self.episodes

    def results(self, sampler: str | None, episodes: int, meant: int) -> dict[str, Any]:
        """What `results.json` says of it.

        Args:
            sampler, episodes: what was tested in truth.
            meant: how many episodes are meant, see `count`.
        """
        changes: Sequence[str] = [
            f"{name} {found}"
            for name, found, meant in (
                ("sampler", sampler, self.sampler),
                ("episodes", episodes, meant),
            )
            if found != meant
        ]
        return {
            "protocol": self.name,
            "protocol_score": self.score,
            "protocol_changes": list(changes),
        }
