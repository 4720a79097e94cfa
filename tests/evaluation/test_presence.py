import numpy as np
import pytest
import torch

from evaluation.presence import LabelledSignals, fit_presence, roc_auc
from model.presence import PresenceScale


def test_the_fit_finds_what_the_data_were_drawn_from():
    random = np.random.default_rng(0)
    values = random.uniform(0, 1, (20000, 3))
    likely = 1 / (1 + np.exp(-(values @ [6, -2, 0] - 2)))
    present = torch.from_numpy(random.uniform(size=20000) < likely)
    scale = fit_presence(LabelledSignals(torch.from_numpy(values).float(), present))
    assert scale.weights == pytest.approx((6, -2, 0), abs=0.25)
    assert scale.bias == pytest.approx(-2, abs=0.25)


def test_the_fit_is_that_of_newtons_method():
    random = np.random.default_rng(1)
    values = random.uniform(0, 1, (60, 3)).astype(np.float32)
    present = torch.from_numpy(values[:, 0] + 0.3 * random.normal(size=60) > 0.5)
    scale = fit_presence(LabelledSignals(torch.from_numpy(values), present))

    inputs = np.column_stack([values, np.ones(60)]).astype(float)
    ridge, solution = np.diag([0.01, 0.01, 0.01, 1e-9]), np.zeros(4)
    for _ in range(30):
        likely = 1 / (1 + np.exp(-inputs @ solution))
        gradient = inputs.T @ (likely - present.numpy()) + ridge @ solution
        curvature = (inputs.T * (likely * (1 - likely))) @ inputs + ridge
        solution -= np.linalg.solve(curvature, gradient)
    assert (*scale.weights, scale.bias) == pytest.approx(solution, abs=1e-4)


def test_the_fit_exists_where_one_signal_tells_all():
    values = torch.tensor([[0.1, 0.5, 0.5]] * 5 + [[0.9, 0.5, 0.5]] * 5)
    present = torch.arange(10) >= 5
    scale = fit_presence(LabelledSignals(values, present))
    assert torch.equal(values @ torch.tensor(scale.weights) + scale.bias > 0, present)


def test_the_area_counts_ordered_pairs():
    signals = torch.tensor([[0.9], [0.3], [0.3], [0.1]])
    measured = LabelledSignals(signals, torch.tensor([True, True, False, False]))
    # 0.9 lies above both; 0.3 above one and beside the other
    assert roc_auc(PresenceScale((2.0,), -7.0), measured) == pytest.approx((2 + 1.5) / 4)
