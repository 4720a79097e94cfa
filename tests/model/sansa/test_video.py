import pytest
import torch

from model.sansa.network import Sansa
from tests.helpers import random_episodes
from tests.model.sansa.test_network import support_of

FRAMES = random_episodes(7, 12).query


@torch.no_grad()
def test_the_first_frame_is_segmented_as_a_picture(model: Sansa):
    support = support_of(model, shots=2)
    frame = model.video([support]).step(FRAMES[:1])
    picture = model.predict(model.encode(FRAMES[:1]), support)
    torch.testing.assert_close(frame.logits, picture.logits)
    torch.testing.assert_close(frame.quality, picture.quality)


@torch.no_grad()
def test_a_frame_remembers_the_frames_before_it(model: Sansa):
    support = support_of(model)
    video = model.video([support])
    for number in range(3):
        last = video.step(FRAMES[number : number + 1])
    alone = model.video([support]).step(FRAMES[2:3])
    assert (last.logits - alone.logits).abs().max() > 1e-3


@torch.no_grad()
def test_prompting_again_forgets_the_video(model: Sansa):
    support = support_of(model)
    video = model.video([support], prompt_every=2)
    for number in range(3):
        last = video.step(FRAMES[number : number + 1])
    alone = model.video([support]).step(FRAMES[2:3])
    torch.testing.assert_close(last.logits, alone.logits)


@torch.no_grad()
def test_concepts_do_not_see_each_other(model: Sansa):
    supports = [support_of(model, 1, shots=2), support_of(model, 2)]
    together = model.video(supports)
    alone = [model.video([support]) for support in supports]
    for number in range(2):
        frame = FRAMES[number : number + 1]
        joined = together.step(frame)
        assert joined.logits.shape == (2, 64, 64)
        apart = torch.cat([video.step(frame).logits for video in alone])
        torch.testing.assert_close(joined.logits, apart)


@torch.no_grad()
def test_a_given_mask_is_a_reference_and_more_may_come_later(model: Sansa):
    masks = torch.zeros(2, 48, 80, dtype=torch.bool)
    masks[0, 6:30, 10:40], masks[1, 12:40, 30:70] = True, True
    video = model.video([])
    first = video.step(FRAMES[:1], masks[:1])
    assert torch.equal(first.masks, model.geometry.masks(masks[:1]) > 0)
    both = video.step(FRAMES[1:2], masks[1:])
    assert torch.equal(both.masks[1], model.geometry.masks(masks[1:])[0] > 0)
    last = video.step(FRAMES[2:3])
    for row in range(2):
        square = model.geometry.masks(masks[row : row + 1])[None]
        support = model.encode_support(model.encode(FRAMES[row : row + 1]), square)
        alone = model.video([support])
        found = [alone.step(FRAMES[n : n + 1]) for n in range(row + 1, 3)]
        torch.testing.assert_close(last.logits[row], found[-1].logits[0])
        torch.testing.assert_close(last.quality[row], found[-1].quality[0])


@torch.no_grad()
def test_memory_does_not_grow_with_the_video(model: Sansa, monkeypatch):
    segmenter = model.segmenter
    video = model.video([support_of(model)])
    features = model.encode(FRAMES[:1])
    monkeypatch.setattr(model, "encode", lambda _: features)
    sizes = []
    for _ in range(40):
        video.step(FRAMES[:1])
        sizes.append(video.banks[0].numbers)
    assert sizes[0] < sizes[5]
    assert sizes[20] == sizes[39]
    assert len(video.banks[0].tracked) == segmenter.network.max_obj_ptrs_in_encoder - 1


def test_videos_that_cannot_begin(model: Sansa):
    with pytest.raises(ValueError, match="nothing to segment"):
        model.video([]).step(FRAMES[:1])
    with pytest.raises(ValueError, match="prompt_every"):
        model.video([support_of(model)], prompt_every=-1)
