import pytest
import torch

from model.persam.frame import Frame, mask_box
from model.persam.location import (
    cosine_map,
    find_target,
    guidance,
    highest_places,
    locate,
    released_mask,
    target_cells,
)


def test_a_cell_belongs_to_the_target_where_the_mask_covers_more_than_half_of_it():
    mask = torch.zeros(1, 8, 8)
    mask[0, :4, :3] = 1  # 12 of 16 pixels of the first cell
    mask[0, 4:, :2] = 1  # exactly half of the one below
    assert torch.equal(target_cells(mask, 2)[0], torch.tensor([[True, False], [False, False]]))


def test_of_a_small_mask_the_fullest_cell_is_the_target():
    mask = torch.zeros(1, 8, 8)
    mask[0, 6, 5:7] = 1
    mask[0, 0, 0] = 1
    assert torch.equal(target_cells(mask, 2)[0], torch.tensor([[False, False], [False, True]]))


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="empty support mask"):
        target_cells(torch.zeros(1, 8, 8), 2)


@pytest.mark.parametrize(("value", "cells"), [(255, 2), (128, 1), (1, 0)])
def test_the_release_reads_a_mask_by_the_value_in_its_file(value: int, cells: int):
    mask = torch.zeros(1, 32, 32)
    mask[0, :16, :16] = value  # all of the first cell
    mask[0, :16, 24:] = value  # half of the middle of the second
    assert (released_mask(mask, 2) > 0).sum() == cells


def test_the_release_counts_padding_as_no_object():
    values = torch.full((1, 32, 32), torch.nan)
    values[0, :16] = 255
    assert torch.equal(released_mask(values, 2)[0] > 0, torch.tensor([[True, True], [False] * 2]))


def test_a_target_is_the_mean_and_half_of_it_the_largest_feature():
    features = torch.tensor([[[[1.0, 3.0], [9.0, 9.0]], [[0.0, -4.0], [9.0, 9.0]]]])
    target = find_target(features, torch.tensor([[[True, True], [False, False]]]))
    assert target.mean.tolist() == [[2.0, -2.0]]
    assert target.mixed.tolist() == [[2.5, -1.0]]


def test_cosines_do_not_depend_on_lengths():
    features = torch.tensor([[[[2.0, 0.0]], [[0.0, 5.0]]]])
    assert cosine_map(features, torch.tensor([[3.0, 0.0]])).tolist() == [[[1.0, 0.0]]]


def test_of_equal_places_the_first_in_reading_order_is_the_best():
    values = torch.tensor([[0.0, 7.0, 1.0], [7.0, 2.0, 5.0]])
    assert highest_places(values, 3).tolist() == [[1, 0], [0, 1], [2, 1]]


def test_places_can_be_kept_apart():
    values = torch.arange(25.0).view(5, 5)
    assert highest_places(values, 2).tolist() == [[4, 4], [3, 4]]
    assert highest_places(values, 2, apart=3).tolist() == [[4, 4], [1, 4]]


def test_the_guidance_is_strongest_where_the_object_is_also_in_a_padded_picture():
    wide = Frame((40, 80), (32, 64), 64)  # half of the square is padding
    cosines = torch.zeros(16, 16)
    cosines[6, 10] = 1.0
    own = locate(cosines, wide)
    placed = guidance(cosines, own, wide)
    released = guidance(cosines, own, wide, released=True)
    assert divmod(placed.argmax().item(), 16) == (6, 10)
    assert divmod(released.argmax().item(), 16)[0] in (12, 13)  # as if the picture filled it
    assert 0 <= placed.min() < placed.max() <= 1


def test_a_picture_of_one_pixel_is_guided_nowhere():
    frame = Frame((1, 1), (64, 64), 64)
    cosines = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
    assert guidance(cosines, locate(cosines, frame), frame).isfinite().all()


def test_places_of_a_picture_and_of_the_square_correspond():
    frame = Frame((360, 480), (768, 1024), 1024)
    expected = torch.tensor([[1024.0, 768.0], [0.0, 0.0]])
    torch.testing.assert_close(frame.to_square(torch.tensor([[480, 360], [0, 0]])), expected)
    ramp = torch.linspace(0, 1, 1024).expand(1, 1024, 1024)
    restored = frame.restore(ramp)[0]
    assert restored.shape == (360, 480)
    assert restored[0, 240].item() == pytest.approx(0.5, abs=2e-3)


def test_a_mask_comes_back_from_the_square_as_it_was():
    mask = torch.rand(20, 30, generator=torch.Generator().manual_seed(0)) > 0.5
    square = torch.zeros(90, 90)
    square[:60] = mask.repeat_interleave(3, 0).repeat_interleave(3, 1).float()
    frame = Frame((20, 30), (60, 90), 90)
    assert torch.equal(frame.own_mask(square) > 0, mask)
    assert Frame((200, 300), (60, 90), 90).within_square().size == (60, 90)


def test_the_box_of_a_mask_ends_with_its_last_pixels():
    mask = torch.zeros(5, 6, dtype=torch.bool)
    mask[1:3, 2:5] = True
    assert mask_box(mask).tolist() == [2, 1, 4, 2]
    assert mask_box(mask & False) is None
