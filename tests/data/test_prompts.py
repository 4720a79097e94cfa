"""Marks drawn from masks: where they lie, how many, and that the same seeds draw the same."""

import pytest
import torch

from common.kinds import KINDS
from data.prompts import MOST, Draws, box_around, draw_mark, fill_box, largest_box


@pytest.fixture
def mask():
    """Two squares, of 4 and of 100 pixels."""
    mask = torch.zeros(32, 32)
    mask[2:4, 3:5] = 1
    mask[10:20, 15:25] = 1
    return mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_the_same_place_draws_the_same_and_another_place_another(mask, kind, training):
    first, again, other = (
        [draw_mark(mask, kind, Draws.at(0, epoch, i), training=training) for i in range(8)]
        for epoch in (1, 1, 2)
    )
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    drawn = kind in ("point", "scribble")
    assert drawn == any(not torch.equal(*pair) for pair in zip(first, other, strict=True))


@pytest.mark.parametrize("kind", ["point", "scribble"])
def test_marks_lie_inside_the_mask(mask, kind):
    for index in range(20):
        mark = draw_mark(mask, kind, Draws.at(0, 0, index), training=True)
        assert mark.unique().tolist() == [0, 1]
        assert (mark <= mask).all()


def test_twenty_points_in_evaluation_and_any_number_in_training(mask):
    assert draw_mark(mask, "point", Draws.at(0, 0, 0)).sum() == MOST
    counts = {
        int(draw_mark(mask, "point", Draws.at(0, 0, index), training=True).sum())
        for index in range(200)
    }
    assert counts == set(range(1, MOST + 1))


def test_small_masks_give_all_they_have():
    mask = torch.zeros(16, 16)
    mask[5, 7:10] = 1
    assert torch.equal(draw_mark(mask, "point", Draws.at(0, 0, 0)), mask)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pixel_is_never_lost(kind):
    mask = torch.zeros(64, 64)
    mask[40, 3] = 1
    for index in range(30):
        for training in (False, True):
            mark = draw_mark(mask, kind, Draws.at(0, 0, index), training=training)
            assert torch.equal(mark, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_from_an_empty_mask(kind):
    assert not draw_mark(torch.zeros(8, 8), kind, Draws.at(0, 0, 0)).any()


def test_boxes(mask):
    assert box_around(mask) == (3, 2, 25, 20)
    assert largest_box(mask) == (15, 10, 25, 20)
    assert draw_mark(mask, "box", Draws.at(0, 0, 0)).sum() == 22 * 18
    alone = draw_mark(mask, "box", Draws.at(0, 0, 0), boxes="largest")
    assert torch.equal(alone, fill_box((15, 10, 25, 20), (32, 32)))


def test_boxes_that_overlap_are_joined():
    mask = torch.zeros(20, 20)
    mask[0:10, 0] = mask[0, 0:10] = 1  # an angle, whose box holds the next part
    mask[5, 5] = 1
    mask[14:16, 2:19] = 1
    assert largest_box(mask) == (0, 0, 10, 10)


def test_what_is_unknown_is_refused(mask):
    with pytest.raises(ValueError, match="no such reference: circle"):
        draw_mark(mask, "circle", Draws.at(0, 0, 0))
    with pytest.raises(ValueError, match="boxes tight"):
        draw_mark(mask, "box", Draws.at(0, 0, 0), boxes="tight")
