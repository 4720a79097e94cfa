"""What was found in one picture, and its separate objects.

Shapes: H and W the picture's own size.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.object_numbers import number_objects


class Object(NamedTuple):
    """A class's whole mask, or one object of it."""

    number: int
    """From 1, in its picture."""
    class_id: int
    mask: np.ndarray
    """H x W bool, not empty."""


@dataclass(frozen=True)
class Labels:
    """What was found in a picture or frame."""

    classes: np.ndarray
    """Class ids, H x W uint8; 0 is the background."""
    scores: Mapping[int, float]
    """Class id -> score, 0 to 1."""
    numbers: np.ndarray | None = None
    """Numbers of objects where classes are split into them, H x W int32; 0 is the background."""
    class_of: Sequence[int] = field(default=())
    """The class of each number, from 1."""

    @property
    def found(self) -> list[int]:
        """Which classes there are."""
        return [class_id for class_id in self.scores if (self.classes == class_id).any()]

    @property
    def objects(self) -> Iterator[Object]:
        """The objects one by one; without a split, each class is one."""
        if self.numbers is None:
            for number, class_id in enumerate(self.found, start=1):
                yield Object(number, class_id, self.classes == class_id)
        else:
            for number, class_id in enumerate(self.class_of, start=1):
                yield Object(number, class_id, self.numbers == number)


def split_into_objects(
    labels: Labels, proposals: Mapping[int, Iterable[np.ndarray]] | None = None
) -> Labels:
    """Number the objects of every class.

    Args:
        proposals: class id -> masks of separate objects, H x W bool, from a method that has them;
            without, each connected part of a class is an object.
    """
    numbers = np.zeros(labels.classes.shape, dtype=np.int32)
    class_of: list[int] = []
    for class_id in labels.found:
        own = number_objects(labels.classes == class_id, (proposals or {}).get(class_id, ()))
        numbers[own > 0] = own[own > 0] + len(class_of)
        class_of += [class_id] * int(own.max())
    return Labels(labels.classes, labels.scores, numbers, tuple(class_of))
