import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from model.presence import PresenceScale, mean_sureness, presence_signals
from tests.helpers import random_episodes, tiny_model

LEFT, RIGHT = [[9.0, -9.0], [9.0, -9.0]], [[-9.0, 9.0], [-9.0, 9.0]]


def signals_of(*logits: list, quality: float = 0.5) -> Tensor:
    """Of pictures whose left half has the feature (1, 0) and whose right half has (0, 1).

    The reference shows (1, 0) inside its mask, the upper half.
    """
    count = len(logits)
    high = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    support = torch.tensor([[[3.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [9.0, 9.0]]])
    return presence_signals(
        torch.tensor(logits),
        torch.full((count,), quality),
        high.expand(count, 2, 2, 2),
        support.expand(count, 1, 2, 2, 2),
        torch.tensor([[1.0, 1.0], [0.0, 0.0]]).expand(count, 1, 2, 2),
    )


def test_resemblance_compares_what_lies_inside_the_masks():
    found = signals_of(LEFT, RIGHT, [[9.0, 9.0], [9.0, 9.0]])
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, 0.0, 0.5**0.5]))


def test_sureness_and_quality_are_the_decoders_own():
    found = signals_of([[2.0, 4.0], [-9.0, -9.0]], quality=1.7)
    sureness = (np.tanh(1) + np.tanh(2)) / 2
    torch.testing.assert_close(found[0, 1:], torch.tensor([sureness, 1.0]).float())


def test_the_score_is_logistic():
    scale = PresenceScale((2.0, 0.0, 4.0), -3.0)
    assert float(scale(signals_of(LEFT))) == pytest.approx(1 / (1 + np.exp(-1)))


def test_a_scale_survives_json():
    scale = PresenceScale((1.5, -2.0, 0.25), 3.0)
    assert PresenceScale.from_json(json.loads(json.dumps(asdict(scale)))) == scale


@pytest.mark.parametrize(("object_logit", "factor"), [(0.0, 0.5), (20.0, 1.0)])
@pytest.mark.parametrize("empty", [False, True])
def test_presence_is_the_score_times_sam_2s_own_and_0_for_an_empty_mask(
    monkeypatch: pytest.MonkeyPatch, object_logit: float, factor: float, empty: bool
):
    model, episode = tiny_model(2, lively=True), random_episodes(0, batch=1)
    model.presence_scale = PresenceScale((2.0, 0.0, 4.0), -3.0)
    decode = type(model).decode

    def fixed(*given: object) -> object:
        decoded = decode(*given)
        object.__setattr__(decoded, "object_logit", torch.tensor([object_logit]))
        if empty:
            object.__setattr__(decoded, "logits", -decoded.logits.abs() - 1)
        return decoded

    monkeypatch.setattr(type(model), "decode", fixed)
    with torch.no_grad():
        support = model.encode_support(model.encode(episode.support[0]), episode.masks)
        found = model.predict(model.encode(episode.query), support)
    expected = 0 if empty else factor * float(model.presence_scale(found.signals))
    assert float(found.presence) == pytest.approx(expected)
    assert expected > 0.01 or empty


def test_sureness_counts_what_is_inside():
    logits = torch.tensor([[[0.0, 100.0], [-100.0, 3.0]]])
    inside = torch.tensor([[[True, True], [True, False]]])
    assert mean_sureness(logits, inside).item() == pytest.approx((0.5 + 1 + 1) / 3)
