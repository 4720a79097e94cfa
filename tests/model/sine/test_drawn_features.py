"""The frozen features of the tiny size."""

import pytest
import torch
from torch.nn import functional as F

from model.backbones.backbone import build_backbone
from model.layers import sine_position
from model.sam.variants import build_segmenter, segmenter_weights
from model.sine.builder import build_sine
from model.sine.config import SIZES, SineOptions
from model.sine.drawn_features import drawn_features

CHANNELS = SIZES["tiny"].channels


@pytest.fixture(scope="module")
def features():
    return drawn_features()


def test_they_are_the_tiny_networks_side_by_side_with_places(features):
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    found = features.extract(images).trunk
    names = build_backbone("tiny", None)
    objects = build_segmenter(1, "tiny", segmenter_weights(1, "tiny")).eval()
    with torch.no_grad():
        embedding = objects.encode_images(images).embedding
    assert found.shape == (2, CHANNELS, 16, 16)
    named = names.high(names.extract(images).trunk, None)
    for part, seen, length in ((found[:, :192], named, 6), (found[:, 192:320], embedding, 2)):
        assert (part.norm(dim=1) - length).abs().max() < 1e-4
        assert F.cosine_similarity(part, seen, dim=1).min() > 1 - 1e-5
    places = sine_position(64, 16, images.device)
    assert torch.equal(found[1, 320:, 3, 5], places[3 * 16 + 5])


def test_pictures_of_another_size_have_as_many_places_as_cells(features):
    images = torch.zeros(1, 3, 192, 192)
    assert features.extract(images).trunk.shape == (1, CHANNELS, 24, 24)


def test_they_stay_frozen_and_can_be_random():
    model = build_sine(SineOptions(size="tiny", random_weights=True)).train()
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert not any(module.training for module in model.backbone.modules())
    assert model.knows_drawings_only
