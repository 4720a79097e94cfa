"""Labels of training pairs by hand."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shown:
    """The entities in a view: N x M x M bool."""

    masks: Tensor

    @classmethod
    def of(cls, *masks: Tensor) -> "Shown":
        return cls(torch.stack(masks) > 0)


@dataclass(frozen=True)
class Pairs:
    """See `model.segic.training.LabelledPairs`."""

    support: tuple[Shown, ...]
    query: tuple[Shown, ...]
    kinds: tuple[str, ...]
    class_names: tuple[str, ...]

    def __getitem__(self, rows: slice) -> "Pairs":
        return Pairs(*(part[rows] for part in vars(self).values()))
