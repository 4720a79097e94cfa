import pytest
import torch

from model.persam.rules import Training
from model.persam.scale_training import train_weights, training_steps


@pytest.fixture(scope="module")
def proposals() -> torch.Tensor:
    """The second shows the object, the others something else; 3 x 24 x 24."""
    logits = torch.full((3, 24, 24), -4.0)
    logits[0, :, :4] = 4
    logits[1, 6:14, 6:14] = 4
    logits[2] = 4
    return logits


def test_the_proposal_that_shows_the_object_gains_weight(proposals):
    weights = train_weights(proposals, (proposals[1] > 0).float(), Training(300, 1e-2))
    assert weights.sum().item() == pytest.approx(1.0)
    assert weights.argmax() == 1
    assert weights[1] > 0.5


def test_losses_of_a_step_worked_out_by_hand():
    learned = torch.full((2,), 1 / 3, requires_grad=True)
    proposals, mask = torch.zeros(3, 2, 2), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    [step] = training_steps(proposals, mask, Training(1), learned)
    # every probability is 1/2: dice = 1 - (2 x 0.5 + 1) / (2 + 1 + 1)
    assert step.dice == pytest.approx(0.5)
    # weights 0.25 and 3 x 0.75 over 4 pixels, times 1/4 log 2
    assert step.focal == pytest.approx(2.5 / 4 * 0.25 * 0.693147, abs=1e-6)
    assert step.rate == pytest.approx(1e-3)


def test_nothing_else_changes_the_result(proposals):
    mask, training = (proposals[1] > 0).float(), Training(30)
    expected = train_weights(proposals, mask, training)
    state = torch.random.get_rng_state()
    with torch.no_grad():
        assert torch.equal(train_weights(proposals, mask, training), expected)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(train_weights(proposals * 1, mask * 1, training), expected)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_rate_falls_to_zero(proposals):
    learned = torch.full((2,), 1 / 3, requires_grad=True)
    rates = [s.rate for s in training_steps(proposals, proposals[1], Training(8), learned)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 * rates[0]
