"""The frozen parts of DC-SAM and VRP-SAM: how they are built, and how restored."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from model.backbones.backbone import Backbone, frozen_backbone
from model.dc_sam.parts_options import PartsOptions
from model.dc_sam.prompted_sam import PromptedSam
from model.sam.adapters import adapter_names, add_adapters
from model.sam.segmenter import Segmenter
from model.sam.variants import frozen_segmenter
from model.weights import load_strictly

SomeModel = TypeVar("SomeModel", bound=PromptedSam)


def build_parts(
    options: PartsOptions, read_backbone: bool = True, read_segmenter: bool = True
) -> tuple[Backbone, Segmenter]:
    """Build the frozen parts with their weights.

    Args:
        read_backbone: False leaves the backbone random, for a checkpoint that holds its weights.
        read_segmenter: the same for SAM.

    Raises:
        UsageError: a weights file is missing, broken or of another model.
    """
    version, name = options.sam_version, options.segmenter
    random = options.random_weights or not read_backbone
    backbone = frozen_backbone(options.backbone, options.backbone_weights, random, options.shrunk)
    random = options.random_weights or not read_segmenter
    return backbone, frozen_segmenter(version, name, options.sam_weights, random, options.shrunk)


def restore_parts(
    build: Callable[[Any, bool, bool], SomeModel],
    options: PartsOptions,
    weights: dict[str, Tensor],
    source: object,
) -> SomeModel:
    """Build a model with a checkpoint's weights; a backbone or SAM 2 that it holds needs no file.

    Weights of SAM 2 that were trained stand in the place of the official ones, and adapters beside
    them.

    Args:
        build: from options, and what is to be read of the frozen parts' files (`build_parts`).
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another configuration, or a frozen part's file is missing.
    """
    has_backbone = any(name.startswith("backbone.") for name in weights)
    has_segmenter = any(name.startswith("segmenter.network.image_encoder.") for name in weights)
    model = build(options, not has_backbone, not has_segmenter)
    if adapter_names(weights):
        add_adapters(model.segmenter.official)
    names = {name for name in model.state_dict() if name.startswith("generator.")}
    if has_backbone:
        names |= {name for name in model.state_dict() if name.startswith("backbone.")}
    names |= {name for name in weights if name.startswith("segmenter.")}
    load_strictly(model, weights, source, names)
    return model
