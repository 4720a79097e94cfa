"""A tiny SANSA that every test of a module shares."""

import pytest
import torch

from model.sansa.adapters import AdaptedBlock
from model.sansa.builder import build_sansa
from model.sansa.config import SansaOptions
from model.sansa.network import Sansa

TINY = SansaOptions(sam_model="tiny", image_size=64)


@torch.no_grad()
def lively_sansa() -> Sansa:
    """Of the repository's tiny SAM 2, with adapters that change something, on small pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_sansa(TINY)
        for block in model.segmenter.network.image_encoder.trunk.blocks:
            if isinstance(block, AdaptedBlock):
                block.adapter.up_proj.weight.normal_(0, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Sansa:
    return lively_sansa()
