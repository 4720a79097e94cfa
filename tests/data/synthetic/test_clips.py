from dataclasses import replace

import numpy as np
import pytest

from data.synthetic.clips import Course, MotionStyle, random_clip
from data.synthetic.drawing import Instance
from data.synthetic.style import BENCHMARK_PAIRS, BENCHMARK_STYLE

STILL = Course(reach=(0, 0), rates=(1, 1), turn=0, swell=0, swell_rate=1)
DISC = Instance(
    shape="disc",
    texture="plain",
    centre=(30.0, 40.0),
    radius=10.0,
    angle=0.5,
    aspect=1.0,
    period=0.5,
    colours=((1, 0, 0), (0, 1, 0)),
    light=(0, 0),
    seed=0,
)


def clip(seed, frames=12, **motion):
    target = BENCHMARK_PAIRS[seed]
    others = [pair for pair in BENCHMARK_PAIRS if pair != target]
    random = np.random.default_rng(seed)
    style = MotionStyle(**motion)
    return random_clip(random, 128, target, others, frames, BENCHMARK_STYLE, style)


def test_a_course_by_hand():
    course = replace(STILL, reach=(20, -8), rates=(np.pi / 4, np.pi / 8), turn=0.1)
    # a quarter of x's way takes two frames, half of it four; y is half as fast
    assert course.at(DISC, 0) == DISC
    assert course.at(DISC, 2).centre == pytest.approx((40, 40 - 8 * (1 - np.cos(np.pi / 4)) / 2))
    assert course.at(DISC, 4).centre == pytest.approx((50, 36))
    assert course.at(DISC, 8).centre == pytest.approx((30, 32))
    assert course.at(DISC, 4).angle == pytest.approx(0.9)


def test_size_swings_between_a_factor_and_its_inverse():
    course = replace(STILL, swell=np.log(2), swell_rate=np.pi / 2)
    radii = [course.at(DISC, time).radius for time in range(4)]
    assert radii == pytest.approx([10, 20, 10, 5])


def test_an_object_is_away_for_a_while_and_comes_back():
    course = replace(STILL, exit=(100, 0), exit_time=6, exit_frames=4)
    ways = [course.at(DISC, time).centre[0] - 30 for time in range(12)]
    assert ways[:5] == [0] * 5
    assert ways[8:] == [0] * 4
    assert ways[5:8] == pytest.approx([100] * 3)


def test_all_objects_start_in_the_picture_and_some_leave_and_return():
    left = returned = 0
    for seed in range(12):
        moving = clip(seed, frames=24, leaves=1.0)
        shown = [set(np.unique(frame.instances)) - {0} for frame in moving.frames(33)]
        assert shown[0] == set(range(1, len(moving.instances) + 1))
        for label in shown[0]:
            absent = [number for number, labels in enumerate(shown) if label not in labels]
            left += bool(absent)
            returned += bool(absent) and any(label in labels for labels in shown[absent[0] :])
    assert left >= 12
    assert returned >= 0.8 * left


def test_frames_depend_on_the_clip_and_their_number_alone():
    first, again = clip(3), clip(3)
    list(first.frames(5))
    assert np.array_equal(first.frame(7).image, again.frame(7).image)
    assert not np.array_equal(first.frame(7).image, first.frame(8).image)
    assert np.array_equal(first.frame(7).instances, again.frame(7).instances)


def test_objects_move_and_the_target_is_among_them():
    moving = clip(5, leaves=0.0)
    start, later = moving.frame(0).instances, moving.frame(8).instances
    assert (start != later).mean() > 0.02
    assert {(i.shape, i.texture) for i in moving.instances} >= {BENCHMARK_PAIRS[5]}
