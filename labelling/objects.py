"""What was found in one picture, and its separate objects.

Shapes: H and W the picture's own size, N proposals.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

SPECK = 1e-3
"""A part with a smaller share of the picture belongs to the nearest object, if there is one."""


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


def number_objects(mask: np.ndarray, proposals: Iterable[np.ndarray] = ()) -> np.ndarray:
    """Give each pixel of a mask the number of its object.

    A pixel belongs to the first proposal that covers it. What none covers, connected part by part,
    is an object of its own, or belongs to the nearest one if it is a speck or touches it.

    Args:
        mask: H x W bool.
        proposals: masks of objects, H x W bool, the best first.

    Returns:
        H x W int32: 0 outside of the mask, inside 1, 2, ... without gaps.
    """
    numbers = np.zeros(mask.shape, dtype=np.int32)
    least = min(SPECK * mask.size, _largest_part(mask))
    count = 0
    for proposal in proposals:
        claimed = mask & proposal & (numbers == 0)
        if np.count_nonzero(claimed) >= least:
            count += 1
            numbers[claimed] = count
    touching = cv2.dilate((numbers > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    parts, areas = _connected_parts(mask & (numbers == 0))
    joins = areas < least
    joins[np.unique(parts[touching])] = True
    joins[0] = False
    alone = ~joins
    alone[0] = False
    number_of = np.where(alone, count + alone.cumsum(), 0)
    numbers += number_of[parts].astype(np.int32)
    if joins.any():
        _join_nearest(numbers, parts, joins)
    return numbers


def _connected_parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the parts, H x W, and the pixels of each; part 0 is the background."""
    _, parts, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return parts, figures[:, cv2.CC_STAT_AREA]


def _largest_part(mask: np.ndarray) -> int:
    return int(max(_connected_parts(mask)[1][1:], default=0))


def _join_nearest(numbers: np.ndarray, parts: np.ndarray, joins: np.ndarray) -> None:
    """Give the parts that join the number of the object that is nearest to any of their pixels."""
    distance, nearest = cv2.distanceTransformWithLabels(
        (numbers == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number_at = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    number_at[nearest[numbers > 0]] = numbers[numbers > 0]
    inside = joins[parts]
    part, away, number = parts[inside], distance[inside], number_at[nearest[inside]]
    order = np.lexsort((away, part))
    met, closest = np.unique(part[order], return_index=True)
    number_of = np.zeros(len(joins), dtype=np.int32)
    number_of[met] = number[order][closest]
    numbers[inside] = number_of[part]
