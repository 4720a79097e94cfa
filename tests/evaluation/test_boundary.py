import math

import numpy as np
import pytest

from evaluation.boundary import (
    boundary_accuracy,
    boundary_map,
    boundary_radius,
    region_similarity,
    score_frame,
)

HEIGHT, WIDTH = 40, 50


def slow_boundary(mask: np.ndarray) -> set[tuple[int, int]]:
    """Boundary pixels by comparing each pixel with three neighbours, clamped to the image."""
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            below, right = min(y + 1, height - 1), min(x + 1, width - 1)
            neighbours = {mask[y, right], mask[below, x], mask[below, right]}
            if neighbours != {mask[y, x]}:
                found.add((y, x))
    return found


def slow_accuracy(prediction: np.ndarray, mask: np.ndarray) -> float:
    """F from the distances of all pairs of boundary pixels."""
    radius = math.ceil(0.008 * math.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2))
    predicted, true = slow_boundary(prediction), slow_boundary(mask)

    def matched(points, others):
        near = [any(math.dist(point, other) <= radius for other in others) for point in points]
        return sum(near) / len(points) if points else 1.0

    precision, recall = matched(predicted, true), matched(true, predicted)
    if precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def empty() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH), dtype=bool)


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = empty()
    mask[top:bottom, left:right] = True
    return mask


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((HEIGHT, WIDTH)) > 0.97


MASKS = {
    "empty": empty(),
    "full": ~empty(),
    "one pixel": box(20, 20, 21, 21),
    "one pixel beside": box(21, 21, 22, 22),
    "pixel in the first corner": box(0, 0, 1, 1),
    "pixel in the last corner": box(HEIGHT - 1, WIDTH - 1, HEIGHT, WIDTH),
    "thin row": box(10, 3, 11, 45),
    "thin column": box(2, 30, 38, 31),
    "box": box(10, 10, 30, 35),
    "box moved": box(11, 12, 31, 36),
    "touching the top left": box(0, 0, 20, 20),
    "touching the bottom right": box(20, 20, HEIGHT, WIDTH),
    "left half": box(0, 0, HEIGHT, WIDTH // 2),
    "with a hole": box(5, 5, 35, 45) & ~box(15, 15, 17, 17),
    "specks": noise(0),
    "other specks": noise(1),
}


@pytest.mark.parametrize("prediction", MASKS)
def test_boundaries_match_a_slow_reference(prediction):
    assert set(zip(*boundary_map(MASKS[prediction]).nonzero(), strict=True)) == slow_boundary(
        MASKS[prediction]
    )
    for name, mask in MASKS.items():
        expected = slow_accuracy(MASKS[prediction], mask)
        assert boundary_accuracy(MASKS[prediction], mask) == pytest.approx(expected, abs=1e-9), name


def test_one_pixel_has_four_boundary_pixels_and_the_image_edge_is_none():
    assert boundary_map(box(20, 20, 21, 21)).nonzero()[0].tolist() == [19, 19, 20, 20]
    assert not boundary_map(~empty()).any()


@pytest.mark.parametrize(
    ("size", "radius"), [((120, 160), 2), ((240, 320), 4), ((512, 512), 6), ((480, 854), 8)]
)
def test_boundaries_match_within_a_share_of_the_diagonal(size, radius):
    assert boundary_radius(*size) == radius


def test_both_empty_is_right_and_one_empty_is_wrong():
    assert score_frame(empty(), empty()) == (1, 1)
    assert score_frame(empty(), MASKS["box"]) == (0, 0)
    assert score_frame(MASKS["box"], empty()) == (0, 0)


def test_region_similarity_is_intersection_over_union():
    # 20 x 20 boxes shifted by 5 columns: 300 common pixels of 500
    score = region_similarity(box(5, 5, 25, 25), box(5, 10, 25, 30))
    assert score == pytest.approx(0.6)


def test_ignored_pixels_belong_to_neither_mask():
    prediction, mask, ignore = box(5, 5, 25, 30), box(5, 5, 25, 25), box(0, 25, HEIGHT, WIDTH)

    score = score_frame(prediction, mask, ignore)

    assert score == (1, 1)
    assert score.mean == 1


def test_arrays_that_are_no_masks_of_one_size_are_refused():
    with pytest.raises(ValueError, match="of one size"):
        score_frame(empty(), empty()[1:])
    with pytest.raises(ValueError, match="uint8"):
        score_frame(empty().astype(np.uint8), empty())
