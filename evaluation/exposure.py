"""Has a checkpoint seen the classes that it is tested on?

Its header says what it was trained on, and of public weights their options do. Classes of different
benchmarks are compared by what they mean, as categories of COCO.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from data.annotated.meanings import classes_meaning
from data.classes import BENCHMARKS, COCO_CLASSES, FOLDS_OF, class_meanings

STRICT, IN_DOMAIN, UNKNOWN = "strict", "in-domain", "unknown"

_IMAGES_OF = {"coco_mask_tube": "coco_all"}
"""Training data -> the benchmark whose images they are made of."""
_DATA_OF = {"lvis92i": "lvis", "paco_part": "paco"}
"""Benchmark -> the data set that sources of training pairs call otherwise."""
_ALL_OF_COCO = {"coco", "lvis", "objects365"}
"""Data sets that show every category of COCO."""


@dataclass(frozen=True)
class TrainingData:
    """What a checkpoint was trained on."""

    benchmark: str
    fold: int
    others: tuple[str, ...] = ()
    """Data sets beside it, without the classes that the fold tests."""

    def __str__(self) -> str:
        one = self.images == "coco_all" or len(FOLDS_OF[self.images]) == 1
        return self.benchmark + ("" if one else f" fold {self.fold}")

    @property
    def told(self) -> str:
        """The same with the data sets beside it."""
        return str(self) + (f" with {', '.join(self.others)}" if self.others else "")

    @property
    def images(self) -> str:
        """The benchmark whose training images were used."""
        return _IMAGES_OF.get(self.benchmark, self.benchmark)

    @property
    def is_of_coco(self) -> bool:
        """Whether what its classes mean is known."""
        return self.images in BENCHMARKS

    @property
    def left_out(self) -> set[int]:
        """The COCO categories that are tested and were not trained on."""
        if not self.is_of_coco:
            return set()
        trained, tested = (
            set(class_meanings(self.images, self.fold, role).values()) for role in ("train", "test")
        )
        return tested - trained

    @property
    def meanings(self) -> set[int]:
        """The COCO categories that were trained on."""
        if _ALL_OF_COCO & set(self.others):
            return set(COCO_CLASSES) - self.left_out
        if not self.is_of_coco:
            return set()
        return set(class_meanings(self.images, self.fold, "train").values())

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self | None:
        """What a checkpoint's header says; None where it does not."""
        data = facts.get("data") or facts.get("stage") or {}
        names = (part.partition("=")[0].strip() for part in (data.get("sources") or "").split(","))
        sources = {name.partition("_")[0] for name in names} - {"", "benchmark"}
        others = tuple(sorted(sources))
        if data.get("exclusion") == "published":
            # whole data sets beside the fold's pictures: nobody says which classes they do not show
            return cls("coco_all", 0, others)
        found = cls(data.get("benchmark"), data.get("fold") or 0, others)
        return found if found.fold in FOLDS_OF.get(found.images, ()) else None


@dataclass(frozen=True)
class Exposure:
    """Whether tested classes were trained on."""

    word: str
    """IN_DOMAIN if some were; STRICT if none was, also where a method learned no class at all;
    UNKNOWN."""
    seen: tuple[int, ...] = ()
    """Ids of those that were, in the numbers of the tested data."""

    def __str__(self) -> str:
        return self.word

    @classmethod
    def of(cls, facts: Mapping[str, Any], tested: Mapping[int, int]) -> Self:
        """Compare a checkpoint's header with tested classes: id -> the COCO category it means."""
        trained = TrainingData.of(facts)
        if trained is None:
            return cls.unnamed(facts)
        known = trained.meanings
        seen = tuple(class_id for class_id, meaning in tested.items() if meaning in known)
        return cls(IN_DOMAIN if seen else STRICT if trained.is_of_coco else UNKNOWN, seen)

    @classmethod
    def of_fold(cls, facts: Mapping[str, Any], benchmark: str, fold: int) -> Self:
        """Compare a checkpoint's header with the classes that a fold tests."""
        return cls.of(facts, class_meanings(benchmark, fold, "test"))

    @classmethod
    def of_names(
        cls,
        facts: Mapping[str, Any],
        class_names: Mapping[int, str],
        benchmark: str | None = None,
        fold: int = 0,
    ) -> Self:
        """Compare a checkpoint's header with tested classes of any data set, by their names.

        A class counts as seen if its objects are, or may be, of a COCO category that was, or if the
        data set itself was trained on.

        Args:
            benchmark, fold: that are tested.
        """
        trained = TrainingData.of(facts)
        if trained is None:
            return cls.unnamed(facts)
        seen = set(classes_meaning(class_names, trained.meanings))
        data = _DATA_OF.get(benchmark, benchmark)
        if data in trained.others:
            seen |= set(class_names) - set(classes_meaning(class_names, trained.left_out))
        itself = not trained.is_of_coco and trained.images == benchmark
        if itself and trained.fold != fold:
            seen |= set(class_names)
        compared = itself or (trained.is_of_coco and not set(trained.others) - {data, "coco"})
        word = IN_DOMAIN if seen else STRICT if compared else UNKNOWN
        return cls(word, tuple(class_id for class_id in class_names if class_id in seen))

    @classmethod
    def unnamed(cls, facts: Mapping[str, Any]) -> Self:
        """Of tested objects whose classes nobody names, or of a header that names none."""
        return cls(STRICT if facts.get("untrained") else UNKNOWN)

    def results(self, facts: Mapping[str, Any], class_names: Mapping[int, str]) -> dict[str, Any]:
        """What `results.json` says of it."""
        trained = TrainingData.of(facts)
        none = "nothing" if facts.get("untrained") else None
        return {
            "exposure": self.word,
            "seen_classes": [class_names[class_id] for class_id in self.seen],
            "trained_on": trained.told if trained else none,
        }
