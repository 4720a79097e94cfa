import numpy as np
import pytest
import torch
from torch import Tensor

from model.instances import mask_boxes
from model.matcher.decoder import PictureDecoder
from model.matcher.proposals import (
    Prompts,
    Proposals,
    enlarge,
    propose,
    stability_score,
    suppress_overlaps,
)
from model.sam.sam1 import Sam
from model.sam.segmenter import SegmenterFeatures

SIDES = (128, 100)


@pytest.fixture(scope="module")
def sam() -> Sam:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        segmenter = Sam("tiny").eval().requires_grad_(False)
        for value in segmenter.mask_decoder.parameters():
            if value.dim() > 1:  # of unit gain, so that attention looks at places
                value.normal_(0, 2 * value[0].numel() ** -0.5)
    return segmenter


@pytest.fixture(scope="module")
def picture(sam: Sam) -> SegmenterFeatures:
    return SegmenterFeatures(torch.randn(1, 128, 16, 16, generator=seeded()))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tokens(count: int, places: int) -> Tensor:
    return torch.randn(count, places, 128, generator=seeded(places))


@pytest.mark.parametrize("places", [2, 7])
def test_the_decoder_answers_as_sams_own(sam: Sam, picture: SegmenterFeatures, places: int):
    prompts = tokens(5, places)
    expected = sam.decode_all(picture.expand(5), prompts)
    decoder = PictureDecoder(sam, picture)
    answers = decoder.answer(prompts)
    torch.testing.assert_close(answers.quality, expected.quality, atol=1e-4, rtol=1e-4)
    wanted = torch.rand(5, 4, generator=seeded()) > 0.5
    drawn = decoder.draw(answers, wanted)
    torch.testing.assert_close(drawn, expected.logits[wanted], atol=2e-4, rtol=1e-4)
    assert drawn.std() > 0.1


@pytest.mark.parametrize("three", [False, True])
def test_masks_of_low_quality_are_never_drawn(sam: Sam, picture: SegmenterFeatures, three: bool):
    decoder, drawn = PictureDecoder(sam, picture), []
    own = decoder.draw
    decoder.draw = lambda answers, wanted: drawn.append(int(wanted.sum())) or own(answers, wanted)
    every = propose(decoder, [Prompts(tokens(6, 3), three, 0.0, 0.0)], SIDES)
    assert drawn.pop() == len(every) == (18 if three else 6)
    limit = every.quality.median().item()
    some = propose(decoder, [Prompts(tokens(6, 3), three, limit, 0.0)], SIDES)
    good = every.quality > limit
    assert drawn == [int(good.sum())]
    assert torch.equal(some.masks, every.masks[good])
    assert torch.equal(some.stability, every.stability[good])


def test_kinds_of_prompts_have_filters_of_their_own(sam: Sam, picture: SegmenterFeatures):
    decoder = PictureDecoder(sam, picture)
    none, all_of_them = Prompts(tokens(4, 3), False, 1e6, 0.0), Prompts(tokens(2, 4), True, 0, 0)
    assert len(propose(decoder, [none, all_of_them], SIDES)) == 6
    assert len(propose(decoder, [none], SIDES)) == 0
    unstable = Prompts(tokens(4, 3), False, 0.0, 1.1)
    assert len(propose(decoder, [unstable], SIDES)) == 0


def test_stability_is_a_share_of_areas():
    logits = torch.tensor([[[2.0, 2.0], [0.0, -0.5]], [[-3.0, -3.0], [-3.0, -3.0]]])
    found = stability_score(logits)
    assert found[0] == 0.5
    assert found[1].isnan()


def test_masks_come_by_way_of_sams_side():
    logits = torch.randn(2, 8, 8, generator=seeded())
    both = enlarge(logits, (32, 20))
    assert both.shape == (2, 20, 20)
    torch.testing.assert_close(both, enlarge(enlarge(logits, [32]), [20]))
    assert not torch.allclose(both, enlarge(logits, [20]))


def squares(*edges: tuple[int, int, int, int]) -> Tensor:
    masks = torch.zeros(len(edges), 40, 40, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, edges, strict=True):
        mask[top : bottom + 1, left : right + 1] = True
    return masks


def test_boxes_have_the_last_pixel_in_them():
    masks = squares((3, 5, 10, 20), (0, 0, 39, 0))
    masks = torch.cat([masks, torch.zeros(1, 40, 40, dtype=torch.bool)])
    assert mask_boxes(masks).tolist() == [[3, 5, 10, 20], [0, 0, 39, 0], [0, 0, 0, 0]]


def test_of_overlapping_masks_the_best_stays_and_order_is_by_quality():
    masks = squares((0, 0, 10, 10), (0, 0, 10, 11), (20, 20, 30, 30))
    found = Proposals(masks, torch.tensor([0.5, 0.7, 0.9]), torch.ones(3))
    assert suppress_overlaps(found, 0.65).quality.tolist() == pytest.approx([0.9, 0.7])
    assert suppress_overlaps(found, 1.0).quality.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert np.array_equal(suppress_overlaps(found, 0.65).masks[1], masks[1])
