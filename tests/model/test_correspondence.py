import pytest
import torch
from torch import Tensor

from model.correspondence import shrink_mask


def image(*rows: str) -> Tensor:
    """A mask, 1 x 1 x H x W, drawn with # and dots."""
    return torch.tensor([[float(c == "#") for c in row] for row in rows])[None, None]


def test_every_cell_takes_its_first_pixel():
    mask = image("#...", "####", "..#.", "....")
    assert torch.equal(shrink_mask(mask, 2), image("#.", ".#"))


def test_a_mask_that_would_vanish_marks_the_cells_it_touches():
    mask = image("....", ".#..", "....", "..##")
    assert torch.equal(shrink_mask(mask, 2), image("#.", ".#"))


def test_an_empty_mask_stays_empty():
    assert not shrink_mask(torch.zeros(2, 1, 8, 8), 4).any()


def test_samples_are_rescued_one_by_one():
    seen = image("#...", ".#..", "....", "...#")  # one pixel survives, the others do not count
    lost = image("....", "...#", "....", "....")
    batch = torch.cat([seen, lost, torch.zeros_like(seen)])

    expected = torch.cat([image("#.", ".."), image(".#", ".."), torch.zeros(1, 1, 2, 2)])
    assert torch.equal(shrink_mask(batch, 2), expected)


@pytest.mark.parametrize(("height", "width", "side"), [(7, 7, 3), (10, 6, 4), (5, 5, 8)])
def test_no_single_pixel_is_ever_lost(height: int, width: int, side: int):
    masks = torch.eye(height * width).view(-1, 1, height, width)
    small = shrink_mask(masks, side)
    assert small.shape == (height * width, 1, side, side)
    assert small.flatten(1).any(dim=1).all()
    assert ((small == 0) | (small == 1)).all()


def test_the_type_is_kept():
    assert shrink_mask(torch.ones(1, 1, 8, 8, dtype=torch.bfloat16), 4).dtype == torch.bfloat16
