"""Learnable parameters and floating-point operations are those of the release."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.backbones.backbone import BUILDERS, Backbone
from model.dc_sam.builder import build_generator
from model.dc_sam.config import DcSamOptions
from model.dc_sam.prompt_generator import PromptGenerator
from model.layers import sine_position
from model.sam.sam1 import Sam
from model.sam.sam2 import Sam2
from model.sam.segmenter import SegmenterFeatures

MIDDLE_CHANNELS = {"resnet50": 1536, "vgg16": 768}
CHANNELS = 256
SIDE = {"resnet50": 64, "vgg16": 32}


def generator_of(options: DcSamOptions) -> PromptGenerator:
    return build_generator(options, MIDDLE_CHANNELS[options.backbone], CHANNELS)


def learnable(options: DcSamOptions) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in generator_of(options).parameters())


def giga_operations(call: Callable, *inputs) -> float:
    """One multiply-add counts as 2."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(*inputs)
    return counter.get_total_flops() / 1e9


@pytest.fixture(scope="module")
def operations(golden) -> dict[str, float]:
    return golden.json("flops.json")


def test_the_papers_1_9_million_parameters_are_those_of_the_prior_fusion():
    assert learnable(DcSamOptions(prior=True)) == 1_870_336


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_counts_of_the_released_models(backbone, version, golden):
    counts = golden.json("state_dicts/_counts.json")
    options = DcSamOptions(backbone=backbone, sam_version=version)
    expected = counts[f"dcsam_{backbone}_samv{version}"]
    assert learnable(options) == expected["params_requires_grad"]
    with torch.device("meta"):
        frozen = sum(p.numel() for p in Backbone(backbone, BUILDERS[backbone]({})).parameters())
    assert learnable(options) + frozen == expected["params_total"]


@pytest.mark.parametrize("name", ["resnet50", "vgg16"])
def test_operations_of_a_backbone(name, operations):
    with torch.device("meta"):
        backbone = Backbone(name, BUILDERS[name]({}))
        images = torch.empty(1, 3, 512, 512)
        trunk = backbone.extract(images).trunk
    per_image = giga_operations(backbone.extract, images)
    assert per_image == pytest.approx(operations[f"{name}_layers0-3_per_image"], abs=0.01)
    per_call = giga_operations(backbone.high, trunk, None)
    assert per_call == pytest.approx(operations[f"{name}_layer4_per_call"], abs=0.01)


def test_operations_of_sam(operations):
    with torch.device("meta"):
        sam = Sam("vit_b")
        images, tokens = torch.empty(1, 3, 1024, 1024), torch.empty(1, 50, CHANNELS)
        features = SegmenterFeatures(torch.empty(1, CHANNELS, 64, 64))
    encoding = giga_operations(sam.encode, images)
    assert encoding == pytest.approx(operations["sam1_vit_b_image_encoder_1024"], abs=0.01)
    decoding = giga_operations(sam.decode_all, features, tokens)
    assert decoding == pytest.approx(operations["sam1_mask_decoder_50tok"], abs=0.01)


def test_operations_of_sam2(operations):
    sam2 = Sam2("sam2.1_hiera_t").to("meta")
    encoder = sam2.network.image_encoder
    encoding = giga_operations(encoder, torch.empty(1, 3, 1024, 1024, device="meta"))
    assert encoding == pytest.approx(operations["sam2_hiera_t_image_encoder_1024"], abs=0.01)


@pytest.mark.parametrize(("backbone", "version"), [("resnet50", 1), ("resnet50", 2), ("vgg16", 1)])
def test_operations_of_the_prompt_generator(backbone, version, operations):
    model = f"dcsam_{backbone}_v{version}"
    generator = generator_of(DcSamOptions(backbone=backbone, sam_version=version))
    generator.eval().requires_grad_(False)
    side = SIDE[backbone]
    middle = torch.zeros(1, MIDDLE_CHANNELS[backbone], side, side)
    levels = (torch.zeros(1, 32, 256, 256), torch.zeros(1, 64, 128, 128))
    features = SegmenterFeatures(torch.zeros(1, CHANNELS, 64, 64), levels if version == 2 else ())
    mask, small = torch.ones(1, 1, 512, 512), torch.ones(1, 1, side, side)
    positions = (sine_position(CHANNELS, side), None)
    maps = generator.maps(middle, features, side)
    supports = generator.encode_support(maps, mask, positions)

    def encode_and_fuse() -> None:
        generator.encode_support(generator.maps(middle, features, side), mask, positions)
        query_maps = generator.maps(middle, features, side)
        for branch, support in zip(generator.branches, supports, strict=True):
            branch.fused(query_maps, support.prototype, small)

    def refine() -> None:
        for branch, support in zip(generator.branches, supports, strict=True):
            branch.refine(support.prompts, support.tokens, small.flatten(1), positions)

    # the release multiplies the vectors' lengths out as well, which these per cents allow for
    stage_1 = operations[f"{model}_stage1_without_backbone(2x trunk + 3x layer4)"]
    without_priors = stage_1 - 2 * operations[f"prior_mask_bmm_{backbone}_each"]
    assert giga_operations(encode_and_fuse) == pytest.approx(without_priors, rel=0.01)
    assert giga_operations(refine) == pytest.approx(operations[f"{model}_stage2"], abs=0.01)
