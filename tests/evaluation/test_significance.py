"""A paired bootstrap, beside a slow one and beside what can be worked out by hand."""

import numpy as np
import pytest
import torch

from common.errors import UsageError
from evaluation.iou import EpisodeAreas as Areas
from evaluation.iou import EpisodeScores
from evaluation.significance import EpisodeAreas, VideoScores, draws, interval, paired_interval


def episodes(*lines: tuple[int, int, int]) -> EpisodeAreas:
    """Of class, intersection and union."""
    return EpisodeAreas.read(
        [
            {"class_id": c, "query": str(n), "support": ["s"], "square": [i, u, 0, 1]}
            for n, (c, i, u) in enumerate(lines)
        ]
    )


def videos(scores: dict[str, list[float | None]], key: str = "jf") -> VideoScores:
    """Of the objects of each video."""
    records = [
        {
            "item": name,
            "video": name,
            "objects": {str(n): {"original_size": {key: s}} for n, s in enumerate(rows)},
        }
        for name, rows in scores.items()
    ]
    return VideoScores.read(records, measure=key)


def random_episodes(seed: int, count: int = 40) -> list[tuple[int, int, int]]:
    random = np.random.default_rng(seed)
    unions = random.integers(1, 500, count)
    inside = (unions * random.random(count)).astype(int)
    classes = np.random.default_rng(99).integers(1, 7, count)  # the same for every seed
    return [*zip(classes.tolist(), inside.tolist(), unions.tolist(), strict=True)]


def slow_miou(lines: list[tuple[int, int, int]], drawn: list[int]) -> float:
    """Sums of every class over episodes, one by one, as they were drawn."""
    sums: dict[int, list[int]] = {}
    for number in drawn:
        class_id, inside, union = lines[number]
        total = sums.setdefault(class_id, [0, 0])
        total[0] += inside
        total[1] += union
    return 100 * sum(i / max(u, 1) for i, u in sums.values()) / len(sums)


def test_the_interval_is_that_of_a_slow_bootstrap():
    first, second = random_episodes(1), random_episodes(2)
    found = paired_interval([episodes(*first)], [episodes(*second)], resamples=300, seed=5)

    in_order = [sorted(lines, key=lambda line: line[0]) for lines in (first, second)]
    rows = np.concatenate([*draws(40, 300, np.random.default_rng((5, 0)))])
    slow = sorted(slow_miou(in_order[0], row) - slow_miou(in_order[1], row) for row in rows)
    everything = range(40)
    assert found.value == pytest.approx(
        slow_miou(first, everything) - slow_miou(second, everything)
    )
    # 2.5 and 97.5 percent of the way through 300 values, between neighbours
    for bound, place in ((found.low, 0.025 * 299), (found.high, 0.975 * 299)):
        below, part = int(place), place % 1
        assert bound == pytest.approx(slow[below] * (1 - part) + slow[below + 1] * part)


def test_the_measure_is_that_of_the_evaluation():
    lines, scores = random_episodes(3), EpisodeScores()
    for number, (class_id, inside, union) in enumerate(lines):
        scores._insert(number, Areas(class_id, inside, union, 0, 1))
    assert interval([episodes(*lines)], resamples=1).value == pytest.approx(scores.miou())


def test_classes_accumulate_and_episodes_are_not_averaged():
    # (1 + 90) / (10 + 100) = 82.7 percent, where the mean over episodes is 50
    assert interval([episodes((1, 1, 10), (1, 90, 100))], 1).value == pytest.approx(100 * 91 / 110)


def test_two_episodes_can_be_drawn_in_four_ways():
    # one class; of the four equally likely draws one takes the first twice (1/2), two both
    # ((1 + 3) / (2 + 4) = 2/3), one the second twice (3/4)
    areas = episodes((1, 1, 2), (1, 3, 4))
    rows = np.concatenate([*draws(2, 4000, np.random.default_rng((0, 0)))])
    counts = np.stack([(rows == 0).sum(1), (rows == 1).sum(1)], axis=1).astype(float)
    values, times = np.unique(areas.resampled(counts).round(6), return_counts=True)
    assert values.tolist() == pytest.approx([50, 200 / 3, 75], abs=1e-5)
    # 1000, 2000, 1000 expected of 4000, with deviations of at most 32
    assert times.tolist() == pytest.approx([1000, 2000, 1000], abs=4 * 32)
    found = interval([areas], 4000)
    assert (found.low, found.high) == pytest.approx((50, 75))


def test_a_class_that_was_not_drawn_is_left_out():
    areas = episodes((1, 1, 2), (2, 0, 10))
    both, first, second = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    assert areas.resampled(np.stack([both, first, second])).tolist() == [25, 50, 0]


def test_pairs_share_their_draws():
    lines = random_episodes(4)
    better = [(c, min(i + 5, u), u) for c, i, u in lines]
    alone = interval([episodes(*better)])
    found = paired_interval([episodes(*better)], [episodes(*lines)])
    # every draw is better, however much draws differ from each other
    assert found.differs
    assert 0 < found.low < found.high
    assert found.high - found.low < (alone.high - alone.low) / 4
    same = paired_interval([episodes(*lines)], [episodes(*lines)])
    assert (same.value, same.low, same.high, same.differs) == (0, 0, 0, False)


def test_runs_on_the_same_units_are_one_sample():
    first, other = (episodes(*random_episodes(seed)) for seed in (7, 8))
    once, thrice = interval([first]), interval([first] * 3)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    once, thrice = paired_interval([first], [other]), paired_interval([first] * 3, [other] * 3)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    apart = EpisodeAreas(tuple("abc"), first.starts[:1], np.ones(3), np.full(3, 2.0))
    mixed, alone = interval([first, apart]), interval([first])
    assert mixed.high - mixed.low == pytest.approx((alone.high - alone.low) / 2)  # of apart it is 0


def test_an_interval_is_a_function_of_the_seed():
    run = [episodes(*random_episodes(6))]
    assert interval(run, 200, seed=1) == interval(run, 200, seed=1)
    assert interval(run, 200, seed=1) != interval(run, 200, seed=2)


def test_runs_are_drawn_by_themselves_and_averaged():
    constant, varied = episodes((1, 3, 4), (1, 3, 4)), episodes((1, 1, 2), (1, 3, 4))
    found = interval([constant, varied], 2000)
    assert found.value == pytest.approx((75 + 200 / 3) / 2)
    assert (found.low, found.high) == pytest.approx(((75 + 50) / 2, 75))


def test_videos_are_drawn_with_all_their_objects():
    scores = videos({"a": [80.0, None, 60.0], "b": [10.0]})
    assert len(scores) == 2
    assert interval([scores], 1).value == pytest.approx(50)  # of three objects
    # a twice: 70; both: 50; b twice: 10
    counts = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    assert scores.resampled(counts).tolist() == pytest.approx([70, 50, 10])
    found = interval([scores], 2000)
    assert (found.low, found.high) == pytest.approx((10, 70))


def test_what_was_scored_on_other_things_is_not_compared():
    lines = random_episodes(7)
    with pytest.raises(UsageError, match="not scored on the same"):
        paired_interval([episodes(*lines)], [episodes(*lines[:-1])])
    with pytest.raises(UsageError, match="not scored on the same"):
        paired_interval([videos({"a": [1.0, None]})], [videos({"a": [None, 1.0]})])
    with pytest.raises(UsageError, match="no item has a score"):
        videos({"a": [None]})


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error():
    # 100 videos of one object each, half 40 and half 60: deviation 10, standard error 1, so that
    # the interval is 50 - 1.96 to 50 + 1.96; half a step between means of draws is 0.1
    scores = videos({f"{n:02d}": [40.0 + 20 * (n % 2)] for n in range(100)})
    found = interval([scores])
    assert (found.low, found.high) == pytest.approx((50 - 1.96, 50 + 1.96), abs=0.11)


def test_95_of_100_intervals_hold_the_truth():
    # differences of mean 3 and deviation 10 on 80 videos, drawn 300 times: at 95 percent 285
    # intervals hold 3, give or take 3 deviations of sqrt(300 x 0.95 x 0.05) = 3.8, and up to 1
    # percent (3) fewer, as a percentile interval of 80 values is narrower by sqrt(79 / 80)
    held = 0
    for repeat in range(300):
        random = np.random.default_rng(repeat)
        level = random.normal(50, 15, 80)  # what both have in common: it pairs away
        better = level + random.normal(3, 10, 80)
        pairs = [
            videos({f"{n:02d}": [score] for n, score in enumerate(values)})
            for values in (better, level)
        ]
        found = paired_interval([pairs[0]], [pairs[1]], resamples=500, seed=repeat)
        held += found.low <= 3 <= found.high
    assert 285 - 3 * 3.8 - 3 <= held <= 285 + 3 * 3.8


def test_scores_of_masks_come_back_as_areas():
    scores = EpisodeScores()
    truth = torch.zeros(1, 4, 4, dtype=torch.bool)
    truth[0, :2] = True
    found = truth.roll(1, 1)
    scores.add([0], [7], found, truth)
    [(index, class_id, *areas)] = scores.state()
    record = {"class_id": class_id, "query": "q", "support": ["s"], "square": areas}
    assert (index, class_id) == (0, 7)
    assert interval([EpisodeAreas.read([record])], 1).value == pytest.approx(100 * 4 / 12)
