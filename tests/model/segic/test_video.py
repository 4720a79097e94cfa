"""SegIC through videos: what is remembered, and objects that appear later."""

import numpy as np
import pytest
import torch

from model.predictor import InContextSegmenter
from model.sam.video_predictor import GIVEN_LOGIT
from model.segic.text import INSTANCE
from tests.golden.segic_case import noted
from tests.helpers import coloured_cells
from tests.model.segic.conftest import SIDE, build

SIZE = torch.tensor([(SIDE, SIDE)])


def step(video, image, masks=None, sizes=SIZE):
    return video.step(image[None], masks, sizes=sizes)


@torch.no_grad()
def test_tokens_are_of_the_first_frame_and_of_the_latest(model, images, masks):
    video = model.video([])
    step(video, images[0], masks[:1])
    first = video.objects[0].first.prototypes[0]
    assert video.objects[0].latest is None
    latest = None
    for t in range(1, 4):
        with noted(model.decoder) as notes:
            step(video, images[t])
        shown = notes.hints[-1].prototypes[0]
        expected = first if latest is None else torch.cat([first, latest])
        torch.testing.assert_close(shown, expected)
        assert torch.equal(video.objects[0].first.prototypes[0], first)
        latest = video.objects[0].latest[0]


@torch.no_grad()
def test_given_masks_are_their_own_result(model, images, masks):
    video = model.video([])
    found = step(video, images[0], masks[:2] > 0)
    assert torch.equal(found.masks, masks[:2] > 0)
    assert (found.object_logit == GIVEN_LOGIT).all()


@torch.no_grad()
def test_objects_may_appear_later(model, images, masks):
    video = model.video([])
    step(video, images[0], masks[:1])
    assert len(step(video, images[1]).logits) == 1
    found = step(video, images[2], masks[1:3])
    assert len(found.logits) == 3
    assert torch.equal(found.masks[1:], masks[1:3] > 0)
    with noted(model.decoder) as notes:
        assert len(step(video, images[3]).logits) == 3
    # two tokens of the first object, one each of the new ones; everybody sees all four
    [hints] = notes.hints
    assert hints.prototypes.shape[:2] == (3, 4)
    assert hints.own.int().tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@torch.no_grad()
def test_an_object_that_appears_later_begins_as_one_that_was_there_from_the_start(
    model, images, masks
):
    later, alone = model.video([]), model.video([])
    step(later, images[0], masks[:1])
    step(later, images[1], masks[1:2])
    step(alone, images[1], masks[1:2])
    new, begun = later.objects[1].first, alone.objects[0].first
    torch.testing.assert_close(new.prototypes, begun.prototypes)
    torch.testing.assert_close(new.directions, begun.directions)


@torch.no_grad()
def test_in_videos_the_sentence_is_that_of_instances(images, masks):
    model = build(text="none")
    features = model.encode(images[:1])
    support = model.encode_support(features, masks[None, :1], names=["cat"])
    video = model.video([support])
    torch.testing.assert_close(video.objects[0].first.meta, model.meta_tokens([INSTANCE]))


@torch.no_grad()
def test_other_objects_clicks_are_left_out_unless_they_are_asked_for(images, masks):
    for asked, labels in ((False, [[1, -1], [1, -1]]), (True, [[1, 0, -1], [0, 1, -1]])):
        model = build(negative_clicks=asked)
        video = model.video([])
        step(video, images[0], masks[:2])
        with noted(model.decoder) as notes:
            step(video, images[1])
        assert notes.hints[-1].labels.tolist() == labels


@torch.no_grad()
def test_what_is_found_beside_the_frame_is_cut_unless_it_is_asked_for(images, masks, monkeypatch):
    sizes, found = torch.tensor([(SIDE // 2, SIDE)]), {}
    for padded in (False, True):
        model = build(padded_prototype=padded)
        everything = torch.full((1, SIDE, SIDE), 5.0)
        monkeypatch.setattr(model, "enlarge", lambda low: everything.clone())  # noqa: B023
        video = model.video([])
        step(video, images[0], masks[:1, : SIDE // 2], sizes)
        step(video, images[1], sizes=sizes)
        cells = model.encode(images[1:2]).cells[0]
        inside = cells if padded else cells[:, : cells.shape[1] // 2]
        found[padded] = video.objects[0].latest[0, 0]
        torch.testing.assert_close(found[padded], inside.flatten(1).mean(1))
    assert not torch.allclose(found[False], found[True])


@torch.no_grad()
def test_the_latest_frame_is_forgotten_every_so_often(model, images, masks):
    support = model.encode_support(model.encode(images[:1]), masks[None, :1])
    video, lengths = model.video([support], prompt_every=2), []
    for t in range(4):
        with noted(model.decoder) as notes:
            step(video, images[t])
        lengths.append(notes.hints[-1].prototypes.shape[1])
    assert lengths == [1, 2, 1, 2]


def test_wrong_use_is_refused(model, images):
    with pytest.raises(ValueError, match="nothing to segment"):
        step(model.video([]), images[0])
    with pytest.raises(ValueError, match="0 or more frames"):
        model.video([], prompt_every=-1)


def test_the_api_segments_videos_of_any_shape(model):
    segmenter = InContextSegmenter(model)
    mask = np.zeros((50, 70), dtype=bool)
    mask[10:30, 20:50] = True
    concepts = [
        segmenter.learn(coloured_cells(9), np.roll(mask, 15 * i, axis=1), f"thing {i}")
        for i in range(2)
    ]
    frames = [np.roll(coloured_cells(9), 2 * t, axis=1) for t in range(3)]
    maps = list(segmenter.segment_video(frames, concepts))
    assert [one.labels.shape for one in maps] == [(50, 70)] * 3
    assert all(len(one.scores) == 2 for one in maps)
