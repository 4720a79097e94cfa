import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from model.dc_sam.network import Concept, EncodedImages, Prediction
from model.presence import PresenceScale, fit_presence, separation, signals

LEFT, RIGHT = [[9.0, -9.0], [9.0, -9.0]], [[-9.0, 9.0], [-9.0, 9.0]]


def scene(*logits, quality=0.5, object_logit=0.0):
    """Pictures whose left half has the feature (1, 0) and whose right half has (0, 1).

    The reference shows (1, 0) inside its mask, the upper half.
    """
    count = len(logits)
    high = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    support = torch.tensor([[[3.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [9.0, 9.0]]])
    masks = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).expand(count, 1, 2, 2)
    logits = torch.tensor(logits)
    found = Prediction(
        logits, logits, torch.full((count,), quality), torch.full((count,), object_logit)
    )
    images = EncodedImages(None, None, high.expand(count, 2, 2, 2), (2, 2))
    return found, images, Concept([], masks, [support.expand(count, 1, 2, 2, 2)])


def test_resemblance_compares_what_lies_inside_the_masks():
    everywhere = [[9.0, 9.0], [9.0, 9.0]]
    found = signals(*scene(LEFT, RIGHT, everywhere))
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, 0.0, 0.5**0.5]))


def test_sureness_and_quality_are_the_decoders_own():
    found = signals(*scene([[2.0, 4.0], [-9.0, -9.0]], quality=1.7))
    sureness = (np.tanh(1) + np.tanh(2)) / 2
    torch.testing.assert_close(found[0, 1:], torch.tensor([sureness, 1.0]).float())


def test_the_score_is_logistic_and_halved_where_sam_2_is_undecided():
    scale = PresenceScale((2.0, 0.0, 4.0), -3.0)
    score = scale(*scene(LEFT, object_logit=0.0))
    assert float(score) == pytest.approx(0.5 / (1 + np.exp(-1)))


def test_an_empty_mask_scores_zero():
    assert float(PresenceScale()(*scene([[-1.0, -1.0], [-1.0, -1.0]]))) == 0


def test_a_scale_survives_json():
    scale = PresenceScale((1.5, -2.0, 0.25), 3.0)
    assert PresenceScale.from_json(json.loads(json.dumps(asdict(scale)))) == scale


def test_the_fit_finds_what_the_data_were_drawn_from():
    random = np.random.default_rng(0)
    values = random.uniform(0, 1, (20000, 3))
    likely = 1 / (1 + np.exp(-(values @ [6, -2, 0] - 2)))
    present = torch.from_numpy(random.uniform(size=20000) < likely)
    scale = fit_presence(torch.from_numpy(values).float(), present)
    assert scale.weights == pytest.approx((6, -2, 0), abs=0.25)
    assert scale.bias == pytest.approx(-2, abs=0.25)


def test_the_fit_exists_where_one_signal_tells_all():
    values = torch.tensor([[0.1, 0.5, 0.5]] * 5 + [[0.9, 0.5, 0.5]] * 5)
    present = torch.arange(10) >= 5
    likely = fit_presence(values, present).likelihood(values)
    assert torch.equal(likely > 0.5, present)


def test_separation_counts_ordered_pairs():
    scores = torch.tensor([0.9, 0.3, 0.3, 0.1])
    present = torch.tensor([True, True, False, False])
    assert separation(scores, present) == pytest.approx((2 + 1.5) / 4)
