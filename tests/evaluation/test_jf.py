import numpy as np
import pytest

from evaluation.jf import PRESENT, TubeScores, mean_summary


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
