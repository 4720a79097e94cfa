from dataclasses import dataclass

import torch
from torch import Tensor

from data.tensor_record import TensorRecord


@dataclass(frozen=True)
class View(TensorRecord):
    masks: Tensor


@dataclass(frozen=True)
class Pair(TensorRecord):
    names: tuple[str, ...]
    images: Tensor
    views: tuple[View, ...]
    kept: tuple[Tensor, ...] = ()


def pair(name: str, value: float) -> Pair:
    images = torch.full((1, 2), value)
    return Pair((name,), images, (View(images + 1),), (images + 2,))


def test_tensors_move_also_within_records_but_not_within_tuples():
    moved = pair("a", 1).to("meta")
    assert moved.names == ("a",)
    assert moved.images.is_meta
    assert moved.views[0].masks.is_meta
    assert not moved.kept[0].is_meta


def test_records_join_along_the_first_dimension():
    joined = Pair.join([pair("a", 1), pair("b", 5)])
    assert joined.names == ("a", "b")
    assert joined.images.tolist() == [[1, 1], [5, 5]]
    assert [view.masks.tolist() for view in joined.views] == [[[2, 2]], [[6, 6]]]
