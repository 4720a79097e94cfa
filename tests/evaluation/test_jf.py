import math

import numpy as np
import pytest

from evaluation.jf import (
    PRESENT,
    TubeScores,
    boundary_map,
    boundary_radius,
    mean_summary,
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
        score = score_frame(MASKS[prediction], mask)
        assert score.boundary == pytest.approx(expected, abs=1e-9), name


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
    score = score_frame(box(5, 5, 25, 25), box(5, 10, 25, 30))
    assert score.region == pytest.approx(0.6)


def test_ignored_pixels_belong_to_neither_mask():
    prediction, mask, ignore = box(5, 5, 25, 30), box(5, 5, 25, 25), box(0, 25, HEIGHT, WIDTH)

    assert score_frame(prediction, mask, ignore) == (1, 1)


def test_arrays_that_are_no_masks_of_one_size_are_refused():
    with pytest.raises(ValueError, match="of one size"):
        score_frame(empty(), empty()[1:])
    with pytest.raises(ValueError, match="uint8"):
        score_frame(empty().astype(np.uint8), empty())


def mask(*rows: str) -> np.ndarray:
    return np.array([[letter == "x" for letter in row] for row in rows])


NOTHING = mask("....", "....")
LEFT = mask("xx..", "xx..")
MIDDLE = mask(".xx.", ".xx.")


def test_means_over_all_frames_and_over_those_with_the_object():
    scores = TubeScores()
    scores.add(LEFT, LEFT, present=True)
    scores.add(NOTHING, LEFT, present=True)
    scores.add(NOTHING, NOTHING, present=False)  # empty and rightly so: 1
    scores.add(LEFT, NOTHING, present=False)
    # J and F of the frames: 1, 0, 1, 0
    assert scores.summary() == {"jf": 50, "j": 50, "f": 50, PRESENT: {"jf": 50, "j": 50, "f": 50}}
    scores.add(MIDDLE, LEFT, present=True)
    # 2 of 6 pixels in common; every boundary pixel has one of the other within a pixel
    shown = scores.summary()
    assert shown["j"] == pytest.approx(100 * (1 + 0 + 1 + 0 + 1 / 3) / 5)
    assert shown["f"] == pytest.approx(100 * 3 / 5)
    assert shown["jf"] == pytest.approx((shown["j"] + shown["f"]) / 2)
    assert shown[PRESENT]["j"] == pytest.approx(100 * (1 + 0 + 1 / 3) / 3)


def test_ignored_pixels_count_for_nothing():
    scores = TubeScores()
    scores.add(MIDDLE, LEFT, present=True, ignore=mask("x.x.", "x.x."))
    assert scores.summary()["j"] == 100


def test_an_object_without_a_scored_frame_has_no_score_and_counts_in_no_mean():
    empty = TubeScores().summary()
    assert empty == {"jf": None, "j": None, "f": None, PRESENT: dict.fromkeys(("jf", "j", "f"))}
    full = TubeScores()
    full.add(LEFT, LEFT, present=False)
    assert mean_summary([empty, full.summary()]) == {
        **{"jf": 100, "j": 100, "f": 100},
        PRESENT: dict.fromkeys(("jf", "j", "f")),
    }


def test_means_go_through_nested_scores():
    one, two = ({"jf": v, "original_size": {"jf": v + 10}} for v in (20.0, 60.0))
    assert mean_summary([one, two]) == {"jf": 40, "original_size": {"jf": 50}}
    assert mean_summary([]) == {}
