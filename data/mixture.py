"""A mixture of annotated pictures: which pair the i-th of an epoch is.

Every choice is a pure function of (seed, epoch, index, attempt), so that neither processes nor
workers nor resuming change what is trained on.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np

from common.errors import UsageError
from common.pair_rules import PairRules
from data.annotated.source import AnnotatedImages

_PAIRS, _VIEWS = 4, 5
"""End the seeds of pairs and of their views, so that no other numbers are the same."""


@dataclass(frozen=True)
class PairKey:
    """What a pair is made of."""

    source: str
    """The name of an `AnnotatedImages`."""
    class_id: int
    query: str
    support: str
    """Both are names of that source; the same one where both views are of one picture."""


@dataclass(frozen=True)
class Part:
    """A source and how it is used."""

    source: AnnotatedImages
    rules: PairRules
    weight: float = 1.0
    """How often it is drawn, in proportion to the others' weights."""
    draw: Literal["class", "image"] = "class"
    """What is drawn first and uniformly: a class and then one of its pictures, or a picture and
    then one of its classes."""


class Mixture:
    """Draws pairs from several sources.

    Args:
        parts: sources of different names.
        pairs_per_epoch: how many pairs an epoch has.
        seed: of all choices.

    Raises:
        UsageError: no part, one with a weight that is not positive, two sources of one name, or one
            that has nothing to draw from.
    """

    def __init__(self, parts: Sequence[Part], pairs_per_epoch: int, seed: int) -> None:
        if not parts or min(part.weight for part in parts) <= 0:
            raise UsageError("a mixture needs sources, and weights above 0")
        self.pairs_per_epoch = pairs_per_epoch
        self.seed = seed
        self._drawers = {part.source.name: _Drawer(part) for part in parts}
        if len(self._drawers) != len(parts):
            names = ", ".join(part.source.name for part in parts)
            raise UsageError(f"the sources of a mixture need different names: {names}")
        self._bounds = np.cumsum([part.weight for part in parts])

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(drawer.part for drawer in self._drawers.values())

    @property
    def domain(self) -> str:
        """What the pictures are; several kinds joined by " and "."""
        return " and ".join(sorted({part.source.domain for part in self.parts}))

    @property
    def left_out(self) -> dict[str, tuple[int, ...]]:
        """Source -> classes that have a single picture where two different ones are needed."""
        return {name: d.left_out for name, d in self._drawers.items() if d.left_out}

    def part(self, key: PairKey) -> Part:
        """Where a pair comes from."""
        return self._drawers[key.source].part

    def key(self, epoch: int, index: int, attempt: int = 0) -> PairKey:
        """The pair at a place of an epoch; other attempts are other pairs for the same place."""
        random = self._random(epoch, index, attempt, _PAIRS)
        place = random.random() * self._bounds[-1]
        drawers = tuple(self._drawers.values())
        number = min(int(np.searchsorted(self._bounds, place, "right")), len(drawers) - 1)
        return drawers[number].draw(random)

    def keys(self, epoch: int) -> list[PairKey]:
        """The pairs of an epoch, each of the first attempt."""
        return [self.key(epoch, index) for index in range(self.pairs_per_epoch)]

    def view_random(self, epoch: int, index: int, attempt: int) -> np.random.Generator:
        """What the views of a pair are drawn by."""
        return self._random(epoch, index, attempt, _VIEWS)

    def fingerprint(self) -> str:
        """16 hex digits that change with the sources, their weights and their rules."""
        facts = [
            [p.source.name, p.source.fingerprint(), p.weight, p.draw, repr(p.rules)]
            for p in self.parts
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def _random(self, epoch: int, index: int, attempt: int, use: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, index, attempt, use))


def pair_hash(keys: Sequence[PairKey]) -> str:
    """SHA-256 of pairs in their order, by which checkpoints name what they were trained on."""
    lines = "\n".join(json.dumps(astuple(key)) for key in keys)
    return hashlib.sha256(lines.encode()).hexdigest()


class _Drawer:
    """Draws pairs of one source."""

    def __init__(self, part: Part) -> None:
        source, rules = part.source, part.rules
        fewest = 2 if rules.same_image == 0 else 1
        images_of = source.images_of
        self.part = part
        self.left_out = tuple(c for c, images in images_of.items() if len(images) < fewest)
        self._images_of = {c: i for c, i in images_of.items() if len(i) >= fewest}
        if not self._images_of:
            raise UsageError(f"{source.name}: no class has the {fewest} pictures that a pair takes")
        self._classes = tuple(self._images_of)
        self._shown: np.ndarray | None = None
        if part.draw == "image":
            self._shown = np.unique(np.concatenate(list(self._images_of.values())))

    def draw(self, random: np.random.Generator) -> PairKey:
        source = self.part.source
        if self._shown is None:
            class_id = _one(self._classes, random)
            images = self._images_of[class_id]
            query = int(_one(images, random))
        else:
            query = int(_one(self._shown, random))
            usable = [c for c in source.classes_of[query].tolist() if c in self._images_of]
            class_id = _one(usable, random)
            images = self._images_of[class_id]
        support = query
        # drawn whether it decides or not, so that a class with one picture shifts no number
        if random.random() >= self.part.rules.same_image and len(images) > 1:
            others = int(random.integers(len(images) - 1))
            support = int(images[others + (others >= np.searchsorted(images, query))])
        return PairKey(source.name, class_id, source.names[query], source.names[support])


def _one(values: Sequence, random: np.random.Generator) -> int:
    return values[int(random.integers(len(values)))]
