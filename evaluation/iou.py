"""mIoU and FB-IoU over episodes, in exact integers.

Source: the few-shot protocol of the paper, section 5: per class, the sum of intersections over the
sum of unions across episodes, then the mean over the fold's classes.
Shapes: B batch, H and W image height and width.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class EpisodeAreas(NamedTuple):
    """What one episode adds to the scores; areas in pixels that are not ignored."""

    class_id: int
    object_intersection: int
    object_union: int
    background_intersection: int
    background_union: int


class EpisodeScores:
    """Collects areas by episode index, so that parts gathered by several processes can be merged.

    Every episode counts once however often it was added, as when a sampler repeats episodes to
    give each process the same number. Sums are integers: any split gives the same scores.
    """

    def __init__(self) -> None:
        self._areas: dict[int, EpisodeAreas] = {}

    def __len__(self) -> int:
        return len(self._areas)

    def add(
        self,
        indices: Sequence[int] | Tensor,
        class_ids: Sequence[int] | Tensor,
        prediction: Tensor,
        mask: Tensor,
        ignore: Tensor | None = None,
    ) -> list[float]:
        """Count a batch of episodes and return the IoU of each object, in percent.

        Args:
            indices: each episode's index in the evaluation, B.
            class_ids: each episode's class, B.
            prediction: true where the object was found, B x H x W bool.
            mask: true where the object is, B x H x W bool.
            ignore: true where pixels count for nothing, B x H x W bool.

        Raises:
            ValueError: shapes differ or are not bool masks, or an index comes back with another
                class.
        """
        ignore = torch.zeros_like(mask) if ignore is None else ignore
        _check_masks(prediction, mask, ignore)
        indices, class_ids = _integers(indices), _integers(class_ids)
        if not len(indices) == len(class_ids) == len(mask):
            raise ValueError(
                f"{len(indices)} indices and {len(class_ids)} classes for {len(mask)} masks"
            )

        counted = ~ignore
        areas = torch.stack(
            [
                prediction & mask & counted,
                (prediction | mask) & counted,
                ~(prediction | mask) & counted,
                ~(prediction & mask) & counted,
            ],
            dim=1,
        )
        areas = areas.flatten(2).sum(dim=2).tolist()  # B x 4
        for index, class_id, episode in zip(indices, class_ids, areas, strict=True):
            self._insert(index, EpisodeAreas(class_id, *episode))
        return [_percent(intersection, union) for intersection, union, _, _ in areas]

    def state(self) -> list[list[int]]:
        """One row of plain integers per episode, to be sent to another process or written."""
        return [[index, *areas] for index, areas in sorted(self._areas.items())]

    @classmethod
    def merge(cls, states: Iterable[Sequence[Sequence[int]]]) -> "EpisodeScores":
        """Join what several processes counted; of an episode counted twice the first stays."""
        merged = cls()
        for state in states:
            for index, *areas in state:
                merged._insert(index, EpisodeAreas(*areas))
        return merged

    def per_class(self) -> dict[int, float]:
        """The IoU in percent of each class that an episode sampled, by class id."""
        return {
            class_id: _percent(areas.object_intersection, areas.object_union)
            for class_id, areas in self._class_sums().items()
        }

    def missing(self, class_ids: Iterable[int]) -> list[int]:
        """Those of the classes that no episode sampled; they are left out of the means."""
        sampled = {areas.class_id for areas in self._areas.values()}
        return sorted(set(class_ids) - sampled)

    def miou(self, class_ids: Iterable[int] | None = None) -> float:
        """Mean IoU in percent over the given classes, or over all that were sampled.

        Raises:
            ValueError: no episode of these classes was counted.
        """
        scores = self.per_class()
        wanted = sorted(scores.keys() if class_ids is None else scores.keys() & set(class_ids))
        if not wanted:
            raise ValueError("no episode of the wanted classes was counted")
        return sum(scores[class_id] for class_id in wanted) / len(wanted)

    def fb_iou(self, class_ids: Iterable[int] | None = None) -> float:
        """Mean of object and background IoU in percent, each summed over the same classes.

        Raises:
            ValueError: no episode of these classes was counted.
        """
        sums = self._class_sums()
        wanted = sums.keys() if class_ids is None else sums.keys() & set(class_ids)
        if not wanted:
            raise ValueError("no episode of the wanted classes was counted")
        _, object_intersection, object_union, background_intersection, background_union = (
            sum(column) for column in zip(*(sums[class_id] for class_id in wanted), strict=True)
        )
        foreground = _percent(object_intersection, object_union)
        return (foreground + _percent(background_intersection, background_union)) / 2

    def _insert(self, index: int, areas: EpisodeAreas) -> None:
        known = self._areas.setdefault(index, areas)
        if known.class_id != areas.class_id:
            raise ValueError(
                f"episode {index} was counted for class {known.class_id} "
                f"and again for class {areas.class_id}"
            )

    def _class_sums(self) -> dict[int, EpisodeAreas]:
        columns: dict[int, list[int]] = {}
        for class_id, *areas in self._areas.values():
            sums = columns.setdefault(class_id, [0] * len(areas))
            columns[class_id] = [total + area for total, area in zip(sums, areas, strict=True)]
        return {
            class_id: EpisodeAreas(class_id, *columns[class_id]) for class_id in sorted(columns)
        }


def _check_masks(*masks: Tensor) -> None:
    shapes = {tuple(mask.shape) for mask in masks}
    if len(shapes) > 1 or masks[0].dim() != 3 or any(mask.dtype != torch.bool for mask in masks):
        described = ", ".join(f"{tuple(mask.shape)} {mask.dtype}" for mask in masks)
        raise ValueError(f"masks must be B x H x W bool and of one size, not {described}")


def _integers(values: Sequence[int] | Tensor) -> list[int]:
    return values.tolist() if isinstance(values, Tensor) else [int(value) for value in values]


def _percent(intersection: int, union: int) -> float:
    """IoU in percent; 0 where there is nothing to divide by, as in the release."""
    return 100 * intersection / max(union, 1)
