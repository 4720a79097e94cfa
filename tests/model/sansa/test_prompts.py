import torch

from model.sam.segmenter import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_POSITIVE
from model.sansa.prompts import alike, prompt_points

MARK = torch.zeros(4, 5)
MARK[1, 1:4] = 1
MARK[3, 2] = 1


def test_every_marked_pixel_is_a_point_row_by_row():
    points, labels = prompt_points(MARK, "scribble")
    assert points.tolist() == [[1, 1], [2, 1], [3, 1], [2, 3]]
    assert labels.tolist() == [POINT_POSITIVE] * 4


def test_a_box_ends_behind_its_last_pixel():
    points, labels = prompt_points(MARK, "box")
    assert points.tolist() == [[1, 1], [4, 4]]
    assert labels.tolist() == [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]


def test_points_are_thinned_evenly():
    points, labels = prompt_points(MARK, "point", most=2)
    assert points.tolist() == [[1, 1], [3, 1]]
    assert len(labels) == 2
    assert len(prompt_points(MARK, "point", most=4)[0]) == 4


def test_references_of_as_many_points_are_decoded_together():
    assert alike([2, 0, 2, 20, 0]) == {2: [0, 2], 0: [1, 4], 20: [3]}
