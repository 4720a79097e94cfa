"""Building DC-SAM from its options, and restoring it from a checkpoint."""

from torch import Tensor

from model.dc_sam.config import DcSamOptions
from model.dc_sam.network import DcSam
from model.dc_sam.parts import build_parts, restore_parts
from model.dc_sam.prompt_generator import (
    PAPER,
    RELEASE_SAM1,
    RELEASE_SAM2,
    BranchDesign,
    PromptGenerator,
)


def build_generator(options: DcSamOptions, middle_channels: int, channels: int) -> PromptGenerator:
    """Build the learnable part for a backbone's middle features and a segmenter's embedding."""
    release = RELEASE_SAM1 if options.sam_version == 1 else RELEASE_SAM2
    return PromptGenerator(
        middle_channels=middle_channels,
        channels=channels,
        design=BranchDesign(options.num_query, options.cyclic),
        fusion="prior" if options.uses_prior_fusion else "full",
        segmenter_fusion=options.segmenter_fusion,
        negative_branch=options.negative_branch,
        levels=options.sam_version == 2,
        wiring=PAPER if options.wiring == "paper" else release,
    )


def build_dc_sam(
    options: DcSamOptions, read_backbone: bool = True, read_segmenter: bool = True
) -> DcSam:
    """Build DC-SAM, the learnable part seeded by torch; for the others see `build_parts`."""
    backbone, segmenter = build_parts(options, read_backbone, read_segmenter)
    generator = build_generator(options, backbone.middle_channels, segmenter.channels)
    return DcSam(backbone, segmenter, generator, options.position, options.image_size)


def restore_dc_sam(options: DcSamOptions, weights: dict[str, Tensor], source: object) -> DcSam:
    """Build DC-SAM with a checkpoint's weights; see `restore_parts`."""
    return restore_parts(build_dc_sam, options, weights, source)
