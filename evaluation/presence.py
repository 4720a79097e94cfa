"""Calibrate the presence score: fit its scale to signals, and tell how well it separates.

Shapes: N masks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import mannwhitneyu
from torch import Tensor

from model.presence import PresenceScale

RIDGE = 1e-2
"""Weight of the squared coefficients in the fit, so that it exists for any data."""


@dataclass(frozen=True)
class LabelledSignals:
    """Signals of masks, and whether the picture showed the object."""

    signals: Tensor
    """N x any number."""
    present: Tensor
    """N, bool."""


def fit_presence(measured: LabelledSignals) -> PresenceScale:
    """The logistic regression of presence on signals, with a ridge on all but the bias."""
    signals = measured.signals.double().numpy()
    inputs = np.column_stack([signals, np.ones(len(signals))])
    present = measured.present.double().numpy()
    ridge = np.full(inputs.shape[1], RIDGE)
    ridge[-1] = 1e-9

    def loss(scale: np.ndarray) -> tuple[float, np.ndarray]:
        odds = inputs @ scale
        value = np.logaddexp(0, odds).sum() - present @ odds + ridge @ scale**2 / 2
        return value, inputs.T @ (expit(odds) - present) + ridge * scale

    def curvature(scale: np.ndarray) -> np.ndarray:
        likely = expit(inputs @ scale)
        return (inputs.T * (likely * (1 - likely))) @ inputs + np.diag(ridge)

    start = np.zeros(inputs.shape[1])
    options = {"gtol": 1e-9}
    solution = minimize(
        loss, start, jac=True, hess=curvature, method="trust-exact", options=options
    )
    *weights, bias = (round(float(value), 4) for value in solution.x)
    return PresenceScale(tuple(weights), bias)


def roc_auc(scale: PresenceScale, measured: LabelledSignals) -> float:
    """How often a picture with the object scores higher than one without, 0 to 1."""
    score = (
        measured.signals.double() @ measured.signals.new_tensor(scale.weights).double()
    ).numpy()
    there, absent = score[measured.present.numpy()], score[~measured.present.numpy()]
    return float(mannwhitneyu(there, absent).statistic) / (len(there) * len(absent))
