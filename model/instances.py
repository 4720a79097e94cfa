"""Separate objects of one picture, each with a mask, a score, a class and a box.

Shapes: N objects, h and w the part of a network's square that shows a picture, H and W the
picture's own size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import masks_to_boxes

from common.images import Size
from common.object_numbers import number_objects

MOST = 100
"""How many objects of a picture count: COCO's measure looks at the best hundred."""


@dataclass(frozen=True)
class Instances:
    """The objects found in one picture; they may overlap."""

    masks: Tensor
    """N x H x W bool, none of them empty."""
    scores: Tensor
    """N float32, in [0, 1]: how sure it is that this is an object of its class."""
    concepts: Tensor
    """N int64: the position of each one's class among the concepts that were asked for."""
    boxes: Tensor
    """N x 4 float32: left, top, right and bottom edge in pixels; one pixel has a box of side 1."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of_masks(cls, masks: Tensor, scores: Tensor, concepts: Tensor) -> Self:
        """Objects with the tight boxes of their masks; empty masks are left out."""
        shown = masks.flatten(1).any(1)
        masks = masks[shown]
        return cls(masks, scores[shown].float(), concepts[shown], tight_boxes(masks))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The objects of several lots in one picture, at least one."""
        names = ("masks", "scores", "concepts", "boxes")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def best(self, most: int = MOST) -> Self:
        """Those of the highest scores, the best first; of equal ones the earlier."""
        order = self.scores.argsort(descending=True, stable=True)[:most]
        return type(self)(
            self.masks[order], self.scores[order], self.concepts[order], self.boxes[order]
        )

    def scored(self, least: float) -> Self:
        """Those with a score of at least so much."""
        some = self.scores >= least
        return type(self)(
            self.masks[some], self.scores[some], self.concepts[some], self.boxes[some]
        )


class FoundObject(NamedTuple):
    """One object in one picture, for people."""

    mask: np.ndarray
    """H x W bool."""
    score: float
    """In [0, 1]."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom edge in pixels."""
    concept: int
    """The position of its class among the concepts that were asked for."""


def found_objects(found: Instances) -> list[FoundObject]:
    """The objects one by one."""
    return [
        FoundObject(mask, score, tuple(box), concept)
        for mask, score, box, concept in zip(
            found.masks.cpu().numpy(),
            found.scores.tolist(),
            found.boxes.tolist(),
            found.concepts.tolist(),
            strict=True,
        )
    ]


def tight_boxes(masks: Tensor) -> Tensor:
    """Left, top, right and bottom edge of masks, N x H x W bool and not empty: N x 4 float32."""
    if not len(masks):
        return masks.new_zeros((0, 4), dtype=torch.float32)
    edges = []
    for inside in (masks.any(1), masks.any(2)):  # columns, then rows
        first = inside.int().argmax(1)
        last = inside.shape[1] - inside.flip(1).int().argmax(1)
        edges.append(torch.stack([first, last], 1))
    return torch.stack(edges, 2).flatten(1).float()


def mask_boxes(masks: Tensor) -> Tensor:
    """First and last column and row of each mask: N x 4 (left, top, right, bottom), zeros if empty.

    Args:
        masks: N x H x W bool.
    """
    boxes = torch.zeros(len(masks), 4, device=masks.device)
    seen = masks.flatten(1).any(1)
    boxes[seen] = masks_to_boxes(masks[seen])
    return boxes


def separate_objects(
    logits: Tensor, proposals: Tensor | None, presence: float, concept: int, size: Size
) -> Instances:
    """The objects of a concept's mask in one picture, for methods that do not score objects.

    They are what labelling makes of a mask: its parts by the method's proposals, else each
    connected part. An object's score is the concept's presence times the mean probability of its
    pixels, so where logits are hard all objects of a picture have the same.

    Args:
        logits: h x w; above 0 is the mask.
        proposals: N x h x w bool, the best first; None: the method has none.
        presence: in [0, 1]: whether the picture shows the concept at all.
        concept: its position among those that were asked for.
        size: of the results.
    """
    full = F.interpolate(logits[None, None].float(), size, mode="bilinear")[0, 0].cpu()
    parts = () if proposals is None else enlarged(proposals, size)
    numbers = number_objects((full > 0).numpy(), parts)
    areas = np.bincount(numbers.ravel())[1:]
    sums = np.bincount(numbers.ravel(), full.sigmoid().numpy().ravel())[1:]
    masks = torch.from_numpy(numbers == np.arange(1, len(areas) + 1)[:, None, None])
    scores = torch.from_numpy(presence * sums / areas).float()
    return Instances.of_masks(masks, scores, torch.full((len(areas),), concept))


def enlarged(objects: Tensor, size: Size) -> Iterator[np.ndarray]:
    """Masks of objects, N x h x w bool, one by one at a picture's size, H x W bool."""
    for one in objects:
        values = F.interpolate(one[None, None].float(), size, mode="bilinear")
        yield (values[0, 0] > 0.5).cpu().numpy()
