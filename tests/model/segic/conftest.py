"""A small SegIC that every test of a module shares."""

import pytest
import torch

from model.segic.builder import build_segic
from model.segic.config import SegicOptions
from model.segic.network import Segic

SIDE = 112


def build(**options: object) -> Segic:
    """SegIC of seeded random weights whose hints count."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_segic(SegicOptions(**{"shrunk": True, "image_size": SIDE, **options})).eval()
        torch.nn.init.normal_(model.decoder.prompt_encoder.mask_downscaling[-1].weight, std=0.5)
        last = model.decoder.mask_decoder.output_hypernetworks_mlps[0].layers[-1]
        torch.nn.init.normal_(last.weight, std=1.0)
    return model


@pytest.fixture(scope="module")
def model() -> Segic:
    return build()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    low = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(low, (SIDE, SIDE), mode="bicubic")


@pytest.fixture(scope="module")
def masks() -> torch.Tensor:
    """Three of them, S x S."""
    masks = torch.zeros(3, SIDE, SIDE)
    masks[0, :56, :56] = 1
    masks[1, 40:100, 30:90] = 1
    masks[2, 60:, 14:40] = 1
    return masks
