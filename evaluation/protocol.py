"""Named protocols: what makes two numbers on a benchmark comparable, one file for each.

A file says on which benchmark a script tests, at which size masks are compared, which pictures are
drawn from, whether a method may have been trained on the tested classes, who tests so, and which
flags of the script differ from their defaults. docs/benchmarks.md lists all of them.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Self

from common.cli import option
from common.errors import UsageError
from evaluation.exposure import IN_DOMAIN, Exposure

FOLDER = Path(__file__).parent / "protocols"
OTHER_CLASSES, ANY_CLASSES = "other classes", "any classes"
"""What a method may have been trained on."""
IMAGES = "eval_image.py"


@cache
def all_protocols() -> Mapping[str, "Protocol"]:
    """All protocols by name."""
    return {path.stem: Protocol.read(path) for path in sorted(FOLDER.glob("*.toml"))}


def protocol_names(script: str = IMAGES) -> tuple[str, ...]:
    """The names of a script's protocols."""
    return tuple(protocol_flags(script))


def protocol_flags(script: str) -> dict[str, Mapping[str, Any]]:
    """The flags that each of a script's protocols stands for, by its name."""
    return {
        name: {"benchmark": one.benchmark, **one.settings}
        for name, one in all_protocols().items()
        if one.script == script
    }


def protocol_option(script: str) -> Any:
    """The field of a script's options for it."""
    text = (
        "named way of testing, see docs/benchmarks.md (default: the one that the flags amount to)"
    )
    return option(None, text, protocol_names(script))


def values_of(options: Any, *names: str) -> dict[str, tuple[Any, Any]]:
    """Some fields of an options dataclass: name -> value and default."""
    defaults = {field.name: field.default for field in fields(options)}
    return {name: (getattr(options, name), defaults[name]) for name in names}


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is tested."""

    name: str
    benchmark: str
    size: str
    """At which masks are compared, see `evaluation.scoring_size`; elsewhere than in
    `eval_image.py` it says what the script does."""
    pool: str
    """The pictures that queries and references come from."""
    trained: str
    """OTHER_CLASSES if no tested class may have been trained on, or ANY_CLASSES."""
    source: str
    """Who tests so."""
    script: str = IMAGES
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of the script's flags that have other values than their defaults."""
    sampler: str | None = None
    """Of episodes: one of `data.sampler.SAMPLERS`."""
    episodes: int | None = None
    """Their number; None: every image of every class is a query once."""
    at_most_images: bool = False
    """No more episodes than the fold has images."""
    seed: int = 0
    """With which episodes, supports or references are drawn."""
    folds_by_shots: bool = False
    """Divide anew for each number of shots the classes that have images enough."""
    voc_words: bool = False
    """Call COCO's categories by VOC's words where there are any."""
    reader: Mapping[str, Any] = field(default_factory=dict)
    """Options of the benchmark's reader."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a protocol's file."""
        with path.open("rb") as file:
            return cls(name=path.stem, **tomllib.load(file))

    @classmethod
    def named(cls, name: str | None, benchmark: str | None) -> "Protocol":
        """A protocol of episodes.

        Args:
            name: None: the benchmark's own.
            benchmark: None: the protocol's.

        Raises:
            UsageError: it is the protocol of another benchmark.
        """
        found = all_protocols()[name or str(benchmark)]
        if benchmark not in (None, found.benchmark):
            raise UsageError(f"--protocol {name} is one of {found.benchmark}, not of {benchmark}")
        return found

    @classmethod
    def followed(
        cls, script: str, benchmark: str, found: Mapping[str, Any], name: str | None
    ) -> "Followed":
        """The protocol of a run of another script: the named one, or the nearest.

        Args:
            found: flag -> the value in this run, and its default where no protocol says another;
                of all flags that decide the result.
            name: None: the one with the fewest changes; of several the first by name.

        Raises:
            UsageError: it is the protocol of another benchmark.
        """
        if name is not None and all_protocols()[name].benchmark != benchmark:
            other = all_protocols()[name].benchmark
            raise UsageError(f"--protocol {name} is one of {other}, not of {benchmark}")
        names = (name,) if name else protocol_names(script)
        protocols = [all_protocols()[one] for one in names]
        runs = [Followed(p, p.changes(found)) for p in protocols if p.benchmark == benchmark]
        return min(runs, key=lambda run: len(run.changes))

    def changes(self, found: Mapping[str, tuple[Any, Any]]) -> tuple[str, ...]:
        """What of a run is not as this protocol has it.

        Args:
            found: flag -> the value in this run, and its default.
        """
        meant = {"seed": self.seed, "size": self.size, **self.settings}
        return tuple(
            _told(name, value)
            for name, (value, default) in found.items()
            if value != meant.get(name, default)
        )

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


@dataclass(frozen=True)
class Followed:
    """A protocol as a run followed it."""

    protocol: Protocol
    changes: Sequence[str] = ()
    """What was done otherwise."""

    def __str__(self) -> str:
        return ", ".join([f"protocol {self.protocol.name}", *self.changes])

    def results(self, exposure: Exposure) -> dict[str, Any]:
        """What `results.json` says of it."""
        seen = exposure.word == IN_DOMAIN and self.protocol.trained == OTHER_CLASSES
        return {
            "protocol": self.protocol.name,
            "protocol_size": self.protocol.size,
            "protocol_pool": self.protocol.pool,
            "protocol_changes": [*self.changes, *(["trained on tested classes"] if seen else [])],
        }


def tested_as(results: Mapping[str, Any]) -> str:
    """The protocol that a `results.json` names, and what was done otherwise but for the seed."""
    changes = (change for change in results["protocol_changes"] if not change.startswith("seed "))
    return ", ".join([results["protocol"], *changes])


def _told(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {value}"
