"""How the scores of remembered frames fade with their age."""

import math

CUT = 15
"""Some decays end at this age."""


def _linear(age: float, span: float) -> float:
    return max(0.0, 1 - age / span)


def _ellipse(age: float, span: float) -> float:
    return math.sqrt(max(0.0, 1 - (age / span) ** 2))


def _cosine(age: float, span: float) -> float:
    return math.cos(age / span) if age < CUT else 0.0


def _exponential(age: float, span: float) -> float:
    return math.exp(-age / span) if age < CUT else 0.0


def _constant(age: float, span: float) -> float:
    return 1.0 if age < CUT else 0.0


DECAYS = {
    "linear": _linear,
    "ellipse": _ellipse,
    "cosine": _cosine,
    "exponential": _exponential,
    "constant": _constant,
}
"""What a score is multiplied with, by the age of its frame and the span of the decay."""
