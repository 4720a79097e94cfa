"""Building VRP-SAM from its options, and restoring it from a checkpoint."""

from torch import Tensor

from model.dc_sam.parts import build_parts, restore_parts
from model.dc_sam.prompt_generator import BranchDesign, PromptGenerator
from model.vrp_sam.config import VrpSamOptions
from model.vrp_sam.network import VrpSam


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
