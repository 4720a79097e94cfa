"""What VRP-SAM is made of and how it is trained: its flags, the paper's numbers, its builder."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from common.cli import option
from model.dc_sam.parts import PartsOptions, build_parts, restore_parts
from model.dc_sam.prompt_generator import BranchDesign, PromptGenerator
from model.vrp_sam.network import WIRINGS, VrpSam

BACKBONES = ("vgg16", "resnet50", "resnet101", "tiny")

_PAPER = {"loss": "release", "weight_decay": 1e-6}
_COCO = {**_PAPER, "epochs": 50, "lr": 1e-4}
_BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
_TINY = {
    **_PAPER,
    "backbone": "tiny",
    "sam_model": "tiny",
    "image_size": 128,
    "num_query": 10,
    "position": "sam",
    "epochs": 8,
    "bsz": 8,
    "lr": 5e-4,
}

HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {**dict.fromkeys(_BENCHMARKS, _COCO), "pascal": {**_PAPER, "epochs": 100, "lr": 2e-4}},
    "tiny": dict.fromkeys(_BENCHMARKS, _TINY),
}
"""Preset -> benchmark -> defaults of flags.

PASCAL's are what DC-SAM's paper says of the setting: the released program has COCO's alone."""


@dataclass(frozen=True)
class VrpSamOptions(PartsOptions):
    """What the model is made of (VRP-SAM)."""

    method: ClassVar[str] = "vrp_sam"

    backbone: str = option("resnet50", "network that gives frozen image features", BACKBONES)
    num_query: int = option(50, "prompt tokens of each reference")
    wiring: str = option(
        "paper",
        "points and scribbles mark every place of the map that they touch, or the nearest as in "
        "the released program",
        WIRINGS,
    )


def build_generator(options: VrpSamOptions, middle_channels: int, channels: int) -> PromptGenerator:
    """Build the learnable part for a backbone's middle features and a segmenter's embedding."""
    return PromptGenerator(
        middle_channels=middle_channels,
        channels=channels,
        design=BranchDesign(
            options.num_query, cyclic=False, query_position=False, early_self_attention=True
        ),
        segmenter_fusion=False,
        negative_branch=False,
    )


def build_vrp_sam(
    options: VrpSamOptions, read_backbone: bool = True, read_segmenter: bool = True
) -> VrpSam:
    """Build VRP-SAM, the learnable part seeded by torch; for the others see `build_parts`."""
    backbone, segmenter = build_parts(options, read_backbone, read_segmenter)
    generator = build_generator(options, backbone.middle_channels, segmenter.channels)
    return VrpSam(
        backbone, segmenter, generator, options.position, options.image_size, options.wiring
    )


def restore_vrp_sam(options: VrpSamOptions, weights: dict[str, Tensor], source: object) -> VrpSam:
    """Build VRP-SAM with a checkpoint's weights; see `restore_parts`."""
    return restore_parts(build_vrp_sam, options, weights, source)
