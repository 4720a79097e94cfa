"""One episode through the models of the paper's size, with random weights."""

import pytest
import torch

from model.dc_sam.builder import build_dc_sam
from model.dc_sam.config import DcSamOptions
from tests.helpers import both_steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "name"), [(1, "vit_b"), (2, "sam2.1_hiera_t")], ids=["SAM", "SAM 2.1"]
)
def test_one_episode_at_512_and_1024(version: int, name: str):
    torch.manual_seed(0)
    options = DcSamOptions(sam_version=version, sam_model=name, random_weights=True)
    model = build_dc_sam(options).eval()
    images = torch.randn(2, 3, 512, 512)
    mask = torch.zeros(1, 1, 512, 512)
    mask[..., 100:300, 150:400] = 1

    with torch.no_grad():
        found = both_steps(model, images[:1], images[None, 1:], mask)

    assert model.segmenter.image_size == 1024
    assert found.logits.shape == found.pseudo_logits.shape == (1, 512, 512)
    assert found.logits.isfinite().all()
