"""Which pixels of a mask belong to which object.

Shapes: H and W the mask's size.
"""

from collections.abc import Iterable

import cv2
import numpy as np

SPECK = 1e-3
"""A part with a smaller share of the picture belongs to the nearest object, if there is one."""


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
