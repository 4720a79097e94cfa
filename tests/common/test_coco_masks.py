import numpy as np
import pytest

from common.coco_masks import annotated_mask, listed_size, mask_annotation, run_length

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


def test_compressed_run_lengths_of_all_signs_and_lengths_pass():
    random = np.random.default_rng(0)
    for size in ((1, 1), (7, 5), (300, 400)):
        for share in (0, 0.001, 0.5, 1):
            mask = random.random(size) < share
            assert np.array_equal(annotated_mask(run_length(mask), size), mask)


NAN, FAR = float("nan"), 1e12


@pytest.mark.parametrize(
    "counts",
    ["", "junk", "01:00", "zzzz", "9" * 50, "\x00", [9, 2], [-1, 25], [25], [1e30, -1e30, 24]],
)
def test_junk_run_lengths_are_refused(counts):
    """pycocotools takes some of them, and shows what was in memory."""
    with pytest.raises(ValueError, match="segmentation"):
        annotated_mask({"size": [4, 6], "counts": counts}, (4, 6))


@pytest.mark.parametrize(
    "outline",
    [[NAN, 1, 2, 1, 2, 2], [1, 1, 2, 1, 2, NAN], [FAR, 0, 5, 5, 3, 3], [0, 0, 5, 5, -FAR, 3]],
)
def test_outlines_of_no_place_are_refused(outline):
    """pycocotools would draw them for ever, or fill all memory."""
    with pytest.raises(ValueError, match="far from the picture"):
        annotated_mask([outline], (4, 6))


@pytest.mark.parametrize(
    "sides", [(1e9, 640), (640, 1e9), (0, 5), (-1, 5), (NAN, 5), (float("inf"), 5), ("5", 5)]
)
def test_sizes_of_no_picture_are_refused(sides):
    with pytest.raises(ValueError, match="no picture"):
        listed_size(dict(zip(("height", "width"), sides, strict=True)))
