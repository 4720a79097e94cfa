import numpy as np

from common.object_numbers import number_objects
from labelling.objects import Labels, labels_of_instances, split_into_objects
from model.instances import FoundObject


def picture(*rows: str) -> np.ndarray:
    """A small map of numbers; points are 0."""
    return np.array([[0 if sign == "." else int(sign) for sign in row] for row in rows])


TWO = picture(
    "11...22",
    "11...22",
    ".1..22.",
)


def test_connected_parts_are_objects():
    assert np.array_equal(number_objects(TWO > 0), TWO)


def test_parts_that_touch_at_a_corner_are_one():
    assert number_objects(picture("1.", ".1") > 0).max() == 1


def test_proposals_part_what_is_connected():
    mask = np.ones((2, 6), dtype=bool)
    left, right = np.zeros((2, 2, 6), dtype=bool)
    left[:, :4], right[:, 2:] = True, True
    found = number_objects(mask, [left, right])
    assert found.tolist() == [[1, 1, 1, 1, 2, 2]] * 2  # the better proposal comes first


def test_what_touches_an_object_and_no_proposal_covers_belongs_to_it():
    mask = np.zeros((3, 8), dtype=bool)
    mask[:, :3] = mask[:, 5:] = True
    proposal = np.zeros((3, 8), dtype=bool)
    proposal[:, :2] = True
    found = number_objects(mask, [proposal])
    assert found.tolist() == [[1, 1, 1, 0, 0, 2, 2, 2]] * 3


def test_specks_belong_to_the_nearest_object():
    mask = np.zeros((100, 100), dtype=bool)
    mask[10:30, 10:30] = mask[70:90, 70:90] = True
    mask[35, 35] = mask[60, 60] = True  # less than a thousandth of the picture
    found = number_objects(mask)
    assert found.max() == 2
    assert (found[35, 35], found[60, 60]) == (found[10, 10], found[70, 70]) == (1, 2)


def test_a_speck_that_is_all_there_is_is_an_object():
    mask = np.zeros((100, 100), dtype=bool)
    mask[3, 4] = True
    assert number_objects(mask)[3, 4] == 1
    assert not number_objects(np.zeros((4, 4), dtype=bool)).any()


def test_objects_of_all_classes_are_numbered_in_turn():
    classes = np.where(TWO > 0, 5, 0).astype(np.uint8)
    classes[0, 3] = 9
    whole = Labels(classes, {5: 0.5, 7: 0.25, 9: 1.0})
    assert [(one.number, one.class_id) for one in whole.objects] == [(1, 5), (2, 9)]
    split = split_into_objects(whole)
    assert [(one.number, one.class_id) for one in split.objects] == [(1, 5), (2, 5), (3, 9)]
    first, _, last = split.objects
    assert np.array_equal(first.mask, TWO == 1)
    assert np.argwhere(last.mask).tolist() == [[0, 3]]
    assert split.classes is classes


def test_of_objects_that_overlap_the_better_one_has_the_pixels():
    left, right = np.zeros((2, 4), dtype=bool), np.zeros((2, 4), dtype=bool)
    left[:, :3] = right[:, 2:] = True
    found = [FoundObject(left, 0.9, (0, 0, 3, 2), 1), FoundObject(right, 0.6, (2, 0, 4, 2), 0)]
    labels = labels_of_instances(found, [5, 7, 9], (2, 4))
    assert labels.numbers.tolist() == [[1, 1, 1, 2]] * 2
    assert labels.classes.tolist() == [[7, 7, 7, 5]] * 2
    assert labels.scores == {5: 0.6, 7: 0.9, 9: 0.0}
    first, second = labels.objects
    assert (first.class_id, first.score, second.class_id, second.score) == (7, 0.9, 5, 0.6)
    assert np.array_equal(second.mask, right)  # whole
