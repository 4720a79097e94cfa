import pytest
import torch

from common.errors import UsageError
from common.geometry import Geometry
from evaluation.scoring_size import ScoringSize


def compared(name: str, geometry: Geometry, logits: list, truth: list):
    found = ScoringSize(name).compared(
        geometry, torch.tensor(logits), torch.tensor(truth, dtype=torch.uint8)
    )
    return [part.int()[0].tolist() for part in found]


def test_a_square_of_the_same_side_stays_as_it_is():
    # a picture of 1 x 2 pixels in a 2 x 2 square: left is the object, right is ignored
    found, mask, ignored = compared("2 squashed", Geometry(2), [[1.0, -1], [2, -3]], [[1, 255]])
    assert found == [[1, 0], [1, 0]]
    assert mask == [[1, 0], [1, 0]]
    assert ignored == [[0, 1], [0, 1]]


def test_logits_come_to_another_square_bilinearly_and_truth_by_the_nearest_pixel():
    # centres of 4 columns in 2: at -0.25, 0.25, 0.75, 1.25, so logits 3, 2, 0, -1 where 3 to -1
    found, mask, _ = compared("4 squashed", Geometry(2), [[3.0, -1], [3.0, -1]], [[1, 0], [1, 0]])
    assert found == [[1, 1, 0, 0]] * 4
    assert mask == [[1, 1, 0, 0]] * 4


def test_at_the_original_size_the_padding_is_cut_off_first():
    # 1 x 2 pixels in a padded 2 x 2 square: the lower row is padding
    logits, truth = [[1.0, -1], [9, 9]], [[0, 1]]
    for name in ("original", "original padded"):
        found, mask, ignored = compared(name, Geometry(2, padded=True), logits, truth)
        assert (found, mask, ignored) == ([[1, 0]], [[0, 1]], [[0, 0]])


def test_a_padded_square_is_enlarged_with_its_padding():
    # 2 x 4 pixels in a padded 2 x 2 square, whose upper row is the picture. Alone that row gives
    # its values to both rows; with the padding row 1 is 3/4 of the upper and 1/4 of the lower row.
    logits, truth = [[1.0, 1], [-5, -5]], [[1, 1, 1, 1], [1, 1, 1, 1]]
    padded = Geometry(2, padded=True)
    assert compared("original", padded, logits, truth)[0] == [[1] * 4, [1] * 4]
    assert compared("original padded", padded, logits, truth)[0] == [[1] * 4, [0] * 4]


def test_where_nothing_is_padded_the_two_are_the_same():
    logits, truth = [[1.0, -2], [-3, 4]], [[1, 0, 0], [0, 1, 1]]
    one, other = (
        compared(name, Geometry(2), logits, truth) for name in ("original", "original padded")
    )
    assert one == other


@pytest.mark.parametrize("name", ["512", "squashed", "own", "-3 squashed"])
def test_another_size_is_refused(name):
    with pytest.raises(UsageError, match="no such size"):
        ScoringSize(name)
