import pytest
import torch

from model.sam.sam2 import ABSENT_LOGIT
from model.sine.network import Sine
from model.sine.video import SineVideo, highest_rank_wins
from tests.helpers import coloured_cells
from tests.model.sine.conftest import shrunk_sine
from tests.model.sine.test_network import MASK, learned

SIZES = torch.tensor([[50, 70]])
GIVEN = torch.from_numpy(MASK)[None]
OTHER = torch.zeros_like(GIVEN)
OTHER[:, 35:45, 5:60] = True


def frame(model: Sine, seed: int, canvas: str = "tracking_geometry") -> torch.Tensor:
    return getattr(model, canvas).image(coloured_cells(seed))[None]


def step(video: SineVideo, seed: int, masks: torch.Tensor | None = None):
    return video.step(frame(video.model, seed), masks, sizes=SIZES)


def test_given_masks_are_shown_and_published_ones_are_found_anew():
    square = shrunk_sine().tracking_geometry.mark(MASK) > 0
    shown = step(shrunk_sine().video([]), 1, GIVEN)
    assert torch.equal(shown.masks[0], square)
    assert shown.quality.tolist() == [1]
    found = step(shrunk_sine(echo_given=False).video([]), 1, GIVEN)
    assert not torch.equal(found.masks[0], square)


def test_given_masks_are_remembered_once_and_published_ones_twice():
    for echo, frames in ((True, [0]), (False, [0, 0])):
        video = shrunk_sine(echo_given=echo).video([])
        step(video, 1, GIVEN)
        assert [one.number for one in video.rows[0].memory.frames] == frames


def test_each_frame_is_encoded_once_and_all_objects_share_a_pass(model, monkeypatch):
    asked = {"encode": 0, "former": 0}
    encode, former = model.encode, model.former.forward

    def note(name, call):
        def noted(*given, **more):
            asked[name] += 1
            return call(*given, **more)

        return noted

    monkeypatch.setattr(model, "encode", note("encode", encode))
    monkeypatch.setattr(model.former, "forward", note("former", former))
    video = model.video([])
    step(video, 1, torch.cat([GIVEN, OTHER]))
    for seed in range(2, 9):
        step(video, seed)
    assert asked == {"encode": 8, "former": 7}


def test_what_is_remembered_does_not_grow():
    video = shrunk_sine(memory=3).video([])
    step(video, 1, GIVEN)
    for seed in range(2, 8):
        step(video, seed)
    frames = video.rows[0].memory.frames
    assert len(frames) == 3
    assert frames[0].number == 0
    assert all(one.sums.total.shape == (32,) for one in frames)


def test_frames_age_by_one_and_published_ones_by_their_files_numbers():
    for age_step, expected in ((1.0, [0, 1, 2]), (5.0, [0, 5, 10])):
        video = shrunk_sine(age_step=age_step).video([])
        step(video, 1, GIVEN)
        step(video, 2)
        step(video, 3)
        assert [one.number for one in video.rows[0].memory.frames] == expected


def test_objects_may_appear_later(model):
    video = model.video([])
    assert step(video, 1, GIVEN).logits.shape[0] == 1
    assert step(video, 2).logits.shape[0] == 1
    found = step(video, 3, OTHER)
    assert found.logits.shape[0] == 2
    shown = model.tracking_geometry.mark(OTHER[0].numpy()) > 0
    assert torch.equal(found.masks[1], shown)
    assert video.rows[1].memory.first.number == 2
    assert step(video, 4).logits.shape[0] == 2


def test_pixels_go_to_the_highest_logit_and_published_ones_to_the_last_object():
    logits = torch.tensor([[[3.0, 2.0, -1.0]], [[1.0, -2.0, 4.0]], [[-1.0, -1.0, 5.0]]])
    expected = [[[-3.0, 2.0, -1.0]], [[1.0, -2.0, -4.0]], [[-1.0, -1.0, 5.0]]]
    assert highest_rank_wins(logits, torch.arange(3)).tolist() == expected
    both = torch.cat([GIVEN, GIVEN])
    assert step(shrunk_sine().video([]), 1, both).masks.all(0).any()
    masks = step(shrunk_sine(overlap="last").video([]), 1, both).masks
    assert not masks[0].any()
    assert masks[1].any()


def test_pixels_go_to_the_object_of_the_highest_score_where_that_is_asked_for():
    logits = torch.tensor([[[3.0, 2.0, -1.0]], [[1.0, -2.0, 4.0]], [[-1.0, -1.0, 5.0]]])
    expected = [[[3.0, 2.0, -1.0]], [[-1.0, -2.0, -4.0]], [[-1.0, -1.0, 5.0]]]
    assert highest_rank_wins(logits, torch.tensor([0.9, 0.5, 0.7])).tolist() == expected
    of_equal_ones = highest_rank_wins(logits, torch.ones(3))
    assert of_equal_ones.tolist() == [[[3.0, 2.0, -1.0]], [[-1.0, -2.0, 4.0]], [[-1.0, -1.0, -5.0]]]

    video = shrunk_sine(overlap="score").video([])
    low, high = (torch.full((8, 8), logit) for logit in (1.0, 2.0))
    shown = {0: (low, 0.8), 1: (high, 0.3)}
    video.rows = [None, None]
    masks = video._joined(shown, torch.zeros(1, 3, 8, 8)).masks
    assert masks[0].all()
    assert not masks[1].any()


def test_a_concept_is_looked_for_until_it_is_found(monkeypatch):
    model = shrunk_sine(threshold=5.0)  # nothing is ever found
    video = model.video([learned(model, (9, MASK))])
    for seed in (1, 2):
        found = video.step(frame(model, seed, "geometry"), sizes=SIZES)
        assert (found.logits == ABSENT_LOGIT).all()
        assert (found.object_logit < 0).all()
        assert video.rows[0].memory is None
    model = shrunk_sine(threshold=0.01)  # the whole picture is
    video = model.video([learned(model, (9, MASK))], prompt_every=3)
    numbers = []
    for seed in range(1, 6):
        video.step(frame(model, seed, "geometry"), sizes=SIZES)
        numbers.append([one.number for one in video.rows[0].memory.frames])
    assert numbers == [[0], [0, 1], [0, 1, 2], [3], [3, 4]]


def test_a_video_needs_something_to_follow(model):
    with pytest.raises(ValueError, match="nothing to segment"):
        step(model.video([]), 1)
    with pytest.raises(ValueError, match="prompt_every"):
        model.video([], prompt_every=-1)


def test_frames_of_videos_have_a_canvas_of_their_own():
    model = shrunk_sine(video_size=140)
    assert (model.geometry.side, model.tracking_geometry.side) == (112, 140)
    assert step(model.video([]), 1, GIVEN).logits.shape == (1, 140, 140)
