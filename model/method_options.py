"""What a method is made of and learns by: the bases of the methods' own flags."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from common.cli import option, to_json
from common.errors import UsageError
from model.official_paths import weights_folder

LOSSES = ("paper", "release", "focal")
"""Which Dice joins the cross-entropy: squared denominators, or the release's plain sums with 1
added to numerator and denominator; or that one and the focal loss, as SANSA has them."""
POINTS = 12544
"""P of the published trainings: 112 x 112."""


LARGEST_SIDE = 8192
"""Of a network's square: what is larger is a mistake, and would take all memory."""
MOST_QUERIES = 10_000


@dataclass(frozen=True)
class LossOptions:
    """What a training minimises."""

    loss: str = option(
        "paper", "losses on masks: the paper's, or the released program's Dice", LOSSES
    )
    pseudo_weight: float = option(
        0.0, "weight of a loss on the pseudo mask as well; the paper has none"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = self.pseudo_weight < 0
        return ["--pseudo_weight cannot be negative"] if wrong else []


@dataclass(frozen=True)
class MethodOptions:
    """What a method is made of: the base of the methods' own flags."""

    method: ClassVar[str]
    """The name in `model.registry`."""

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        return []

    def files(self) -> tuple[str, ...]:
        """Names in `model.weights.OFFICIAL` of the official files that building it reads."""
        return ()

    def lacks(self) -> str | None:
        """Why what it builds is of no use before a training; None: public weights are enough."""
        return None

    @staticmethod
    def data_of(released: str) -> dict[str, Any]:
        """What a published file was trained on, as a header's "data"; empty: not known.

        Args:
            released: its name in `model.weights.OFFICIAL`, or that of another file.
        """
        return {}

    def trained_on(self) -> dict[str, Any] | None:
        """Benchmark, fold and sources, as a header's "data", that public weights were trained on
        for the task itself; empty: not known; None: no training on any class."""
        return None

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint's header says; of files it says their names."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        names = {name: value.name for name, value in values if isinstance(value, Path)}
        return to_json(replace(self, **names))

    @classmethod
    def from_json(cls, stored: Any, source: object) -> Self:
        """From a header; files are looked up in the folder of weights.

        Raises:
            UsageError: there are options which this program does not know.
        """
        hints = {field.name: field.type for field in fields(cls)}
        if not isinstance(stored, dict) or not stored.keys() <= hints.keys():
            raise UsageError(f"{source} does not describe a model that this version can build")
        files = {
            name: weights_folder() / Path(stored[name]).name
            for name, hint in hints.items()
            if hint == Path | None and stored.get(name) and isinstance(stored[name], str)
        }
        return cls(**{**stored, **files})


@dataclass(frozen=True)
class OfficialNetworksOptions(MethodOptions):
    """Of a method on networks with official files, which others can stand in for."""

    random_weights: bool = option(False, "untrained networks, to try things without files")
    shrunk: bool = option(
        False,
        "take the same classes with few layers and random weights, to try things in seconds",
    )

    @property
    def random(self) -> bool:
        """Whether networks have random weights instead of official ones."""
        return self.random_weights or self.shrunk

    def useless_files(self, **given: object) -> list[str]:
        """The problem that files were given which random weights leave no use for.

        Args:
            given: by the name of its flag, whether or which file was given.
        """
        if not self.random or not any(given.values()):
            return []
        flag = "--shrunk" if self.shrunk else "--random_weights"
        return [f"{flag} leaves no use for {' or '.join(f'--{name}' for name in given)}"]


def trained_on_all(*sources: str) -> dict[str, Any]:
    """What `MethodOptions.trained_on` says of weights that saw all of COCO's classes.

    Args:
        sources: of `data.sources.SOURCES`, that they saw whole beside them.
    """
    data = {"benchmark": "coco_all", "fold": 0}
    return {**data, "sources": ",".join(sources), "exclusion": "published"}
