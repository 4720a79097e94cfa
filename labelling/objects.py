"""What was found in one picture, and its separate objects.

Shapes: H and W the picture's own size.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.images import Size
from common.object_numbers import number_objects
from model.instances import FoundObject
from model.tracking import TrackedFrame


class Object(NamedTuple):
    """A class's whole mask, or one object of it."""

    number: int
    """From 1, in its picture."""
    class_id: int
    mask: np.ndarray
    """H x W bool, not empty."""
    score: float
    """The object's own, or its class's."""


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
    score_of: Sequence[float] = field(default=())
    """The score of each number, where objects have their own; else empty."""
    masks: Sequence[np.ndarray] = field(default=())
    """The whole mask of each number, H x W bool, where objects may overlap; else empty."""

    @property
    def found(self) -> list[int]:
        """Which classes there are."""
        return [class_id for class_id in self.scores if (self.classes == class_id).any()]

    @property
    def objects(self) -> Iterator[Object]:
        """The objects one by one; without a split, each class is one."""
        if self.numbers is None:
            for number, class_id in enumerate(self.found, start=1):
                score = self.scores[class_id]
                yield Object(number, class_id, self.classes == class_id, score)
        else:
            for number, class_id in enumerate(self.class_of, start=1):
                mask = self.masks[number - 1] if self.masks else self.numbers == number
                if not mask.any():
                    continue  # it is in other frames of the video
                score = self.score_of[number - 1] if self.score_of else self.scores[class_id]
                yield Object(number, class_id, mask, score)


def labels_of_instances(
    found: Sequence[FoundObject], class_ids: Sequence[int], size: Size
) -> Labels:
    """Labels from objects that a method found and scored, the best first.

    Where objects overlap the better one has the pixels; each one's mask stays whole beside that.

    Args:
        found: with masks of the size.
        class_ids: of the concepts that were asked for.
        size: H and W.
    """
    classes, numbers = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.int32)
    scores = dict.fromkeys(class_ids, 0.0)
    for number, one in reversed([*enumerate(found, start=1)]):
        class_id = class_ids[one.concept]
        classes[one.mask], numbers[one.mask] = class_id, number
        scores[class_id] = max(scores[class_id], one.score)
    return Labels(
        classes,
        scores,
        numbers,
        [class_ids[one.concept] for one in found],
        [one.score for one in found],
        [one.mask for one in found],
    )


def labels_of_tracked(frame: TrackedFrame, class_ids: Sequence[int]) -> Labels:
    """Labels from a video's frame, whose objects have the same numbers in other frames.

    Args:
        class_ids: of the concepts that were asked for.
    """
    own = [class_ids[concept] for concept in frame.concepts]
    scores = dict.fromkeys(class_ids, 0.0)
    for class_id, score in zip(own, frame.scores, strict=True):
        scores[class_id] = max(scores[class_id], score)
    classes = np.array([0, *own], dtype=np.uint8)[frame.numbers]
    return Labels(classes, scores, frame.numbers.astype(np.int32), own, frame.scores)


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
