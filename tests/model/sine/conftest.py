"""A tiny SINE that every test of a module shares."""

import pytest
import torch

from model.sine.builder import build_sine
from model.sine.config import SineOptions
from model.sine.network import Sine

SHRUNK = {"size": "s", "shrunk": True, "queries": 6}


def shrunk_sine(**options: object) -> Sine:
    """Of few layers and seeded random weights, on a canvas of 112 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_sine(SineOptions(**{**SHRUNK, **options})).eval()


@pytest.fixture(scope="module")
def model() -> Sine:
    return shrunk_sine()
