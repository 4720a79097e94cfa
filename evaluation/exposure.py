"""Has a checkpoint seen the classes that it is tested on?

Its header says what it was trained on. Classes of different benchmarks are compared by what they
mean, as categories of COCO.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from data.annotated.meanings import classes_meaning
from data.classes import BENCHMARKS, FOLDS, class_meanings

SEEN, UNSEEN, UNKNOWN, UNTRAINED = "seen", "unseen", "data unknown", "no training"

_IMAGES_OF = {"coco_mask_tube": "coco_all"}
"""Training data -> the benchmark whose images they are made of."""


@dataclass(frozen=True)
class TrainingData:
    """What a checkpoint was trained on."""

    benchmark: str
    fold: int

    def __str__(self) -> str:
        folds = "" if self.images == "coco_all" else f" fold {self.fold}"
        return self.benchmark + folds

    @property
    def images(self) -> str:
        """The benchmark whose training images were used."""
        return _IMAGES_OF.get(self.benchmark, self.benchmark)

    @property
    def meanings(self) -> set[int]:
        """The COCO categories that were trained on."""
        return set(class_meanings(self.images, self.fold, "train").values())

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self | None:
        """What a checkpoint's header says; None where it does not."""
        data = facts.get("data") or facts.get("stage") or {}
        if data.get("exclusion") == "published":
            # whole data sets beside the fold's pictures: nobody says which classes they do not show
            return cls("coco_all", 0)
        found = cls(data.get("benchmark"), data.get("fold") or 0)
        return found if found.images in BENCHMARKS and found.fold in FOLDS else None


@dataclass(frozen=True)
class Exposure:
    """Whether tested classes were trained on."""

    word: str
    """SEEN if some were, UNSEEN, UNKNOWN, or UNTRAINED where a method learned no class at all."""
    seen: tuple[int, ...] = ()
    """Ids of those that were, in the numbers of the tested data."""

    def __str__(self) -> str:
        return f"{self.word} classes" if self.word in (SEEN, UNSEEN) else self.word

    @classmethod
    def of(cls, facts: Mapping[str, Any], tested: Mapping[int, int]) -> Self:
        """Compare a checkpoint's header with tested classes: id -> the COCO category it means."""
        trained = TrainingData.of(facts)
        if trained is None:
            return cls(UNTRAINED if facts.get("untrained") else UNKNOWN)
        known = trained.meanings
        seen = tuple(class_id for class_id, meaning in tested.items() if meaning in known)
        return cls(SEEN if seen else UNSEEN, seen)

    @classmethod
    def of_fold(cls, facts: Mapping[str, Any], benchmark: str, fold: int) -> Self:
        """Compare a checkpoint's header with the classes that a fold tests."""
        return cls.of(facts, class_meanings(benchmark, fold, "test"))

    @classmethod
    def of_names(cls, facts: Mapping[str, Any], class_names: Mapping[int, str]) -> Self:
        """Compare a checkpoint's header with tested classes of any data set, by their names.

        A class counts as seen if its objects are, or may be, of a COCO category that was.
        """
        trained = TrainingData.of(facts)
        if trained is None:
            return cls.of(facts, {})
        seen = classes_meaning(class_names, trained.meanings)
        return cls(SEEN if seen else UNSEEN, tuple(seen))

    def results(self, facts: Mapping[str, Any], class_names: Mapping[int, str]) -> dict[str, Any]:
        """What `results.json` says of it."""
        trained = TrainingData.of(facts)
        return {
            "classes": self.word,
            "seen_classes": [class_names[class_id] for class_id in self.seen],
            "trained_on": trained and str(trained),
        }
