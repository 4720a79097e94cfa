import numpy as np
import pytest

from common.coco_masks import annotated_mask, mask_annotation, run_length

MASK = np.zeros((4, 6), dtype=bool)
MASK[1:3, 2:5] = True


def test_run_lengths_give_the_mask_back():
    assert np.array_equal(annotated_mask(run_length(MASK), (4, 6)), MASK)
    columns = {"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]}  # down the columns, off and on
    assert np.array_equal(annotated_mask(columns, (4, 6)), MASK)


def test_outlines_are_filled():
    outline = [2, 1, 5, 1, 5, 3, 2, 3]
    assert np.array_equal(annotated_mask([outline], (4, 6)), MASK)


def test_an_annotation_has_area_and_box():
    found = mask_annotation(MASK)
    assert (found["area"], found["bbox"], found["iscrowd"]) == (6, [2.0, 1.0, 3.0, 2.0], 0)


@pytest.mark.parametrize(
    "wrong", [None, [], [[1, 2]], {"size": [4, 6]}, {"size": [3, 6], "counts": [18]}]
)
def test_what_is_no_segmentation_is_refused(wrong):
    with pytest.raises(ValueError, match="segmentation"):
        annotated_mask(wrong, (4, 6))
