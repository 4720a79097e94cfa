import pytest
import torch

from evaluation.iou import EpisodeScores


def rows(*lines: str) -> torch.Tensor:
    """A 1 x H x W mask from lines in which # is true."""
    return torch.tensor([[[pixel == "#" for pixel in line] for line in lines]])


def test_iou_of_one_episode_counted_by_eye():
    scores = EpisodeScores()

    iou = scores.add([0], [3], prediction=rows("##..", "...."), mask=rows(".##.", "...."))

    assert scores.state() == [[0, 3, 1, 3, 5, 7]]
    assert iou == [pytest.approx(100 / 3)]
    assert scores.per_class() == {3: pytest.approx(100 / 3)}
    assert scores.miou() == pytest.approx(100 / 3)
    assert scores.fb_iou() == pytest.approx((100 / 3 + 500 / 7) / 2)


def test_ignored_pixels_leave_intersection_and_union():
    scores = EpisodeScores()

    scores.add(
        [0],
        [3],
        prediction=rows("##..", "...."),
        mask=rows(".##.", "...."),
        ignore=rows("#...", "...#"),
    )

    assert scores.state() == [[0, 3, 1, 2, 4, 5]]
    assert scores.miou() == 50
    assert scores.fb_iou() == pytest.approx((50 + 80) / 2)


def test_areas_are_summed_within_a_class_before_the_ratio_and_the_mean():
    scores = EpisodeScores()
    scores.add([0], [1], rows("#..."), rows("####"))
    scores.add([1], [1], rows("#..."), rows("#..."))
    scores.add([2], [2], rows("##.."), rows("##.."))

    assert scores.per_class() == {1: 40, 2: 100}
    assert scores.miou() == 70
    assert scores.miou([1]) == 40
    # object 4 of 7 pixels, background 5 of 8
    assert scores.fb_iou() == pytest.approx(50 * (4 / 7 + 5 / 8))


def test_a_class_without_episodes_is_reported_and_left_out():
    scores = EpisodeScores()
    scores.add([0], [1], rows("#."), rows("##"))

    assert scores.missing([1, 2, 5]) == [2, 5]
    assert scores.miou([1, 2, 5]) == 50
    for score in (scores.miou, scores.fb_iou):
        with pytest.raises(ValueError, match="no episode"):
            score([2, 5])


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_any_number_of_processes_gives_the_same_scores_with_repeated_episodes(processes):
    generator = torch.Generator().manual_seed(0)
    prediction, mask, ignore = torch.rand(3, 10, 8, 8, generator=generator) > 0.5
    class_ids = torch.arange(10) % 3
    alone = EpisodeScores()
    alone.add(range(10), class_ids, prediction, mask, ignore)

    states = []
    for rank in range(processes):
        # as a sampler does it: the list is filled up from its beginning to equal shares
        share = [(rank + step * processes) % 10 for step in range(-(-10 // processes))]
        scores = EpisodeScores()
        scores.add(share, class_ids[share], prediction[share], mask[share], ignore[share])
        states.append(scores.state())
    merged = EpisodeScores.merge(reversed(states))

    assert len(merged) == 10
    assert merged.state() == alone.state()
    assert merged.miou() == alone.miou()
    assert merged.fb_iou() == alone.fb_iou()


def test_wrong_masks_and_contradicting_classes_are_refused():
    scores = EpisodeScores()
    scores.add([0], [1], rows("#."), rows("##"))

    with pytest.raises(ValueError, match="class 1 and again for class 2"):
        scores.add([0], [2], rows("#."), rows("##"))
    with pytest.raises(ValueError, match="of one size"):
        scores.add([1], [1], rows("#."), rows("###"))
    with pytest.raises(ValueError, match="bool"):
        scores.add([1], [1], rows("#.").float(), rows("##"))
    with pytest.raises(ValueError, match="2 indices"):
        scores.add([1, 2], [1], rows("#."), rows("##"))
