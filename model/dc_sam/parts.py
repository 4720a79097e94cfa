"""The frozen parts of DC-SAM and VRP-SAM: their flags, how they are built, and how restored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from common.cli import option
from model.backbones.backbone import BUILDERS, SHRUNK, Backbone, build_backbone
from model.dc_sam.prompted_sam import PromptedSam
from model.method_options import OfficialNetworksOptions
from model.sam.adapters import adapter_names, add_adapters
from model.sam.segmenter import Segmenter
from model.sam.variants import (
    DEFAULT_SAM_MODEL,
    SAM_MODELS,
    build_segmenter,
    segmenter_weights,
)
from model.weights import load_strictly, official_path

SomeModel = TypeVar("SomeModel", bound=PromptedSam)


@dataclass(frozen=True)
class PartsOptions(OfficialNetworksOptions):
    """Which frozen networks a model is made of, and the size of its pictures and prompts."""

    sam_version: ClassVar[int] = 1

    backbone: str = option("resnet50", "network that gives frozen image features", tuple(BUILDERS))
    backbone_weights: Path | None = option(
        None, "file of the backbone (default: the official one in the folder of weights)"
    )
    sam_model: str | None = option(
        None, "variant of SAM: vit_b, vit_l, vit_h or tiny (default: largest)"
    )
    sam_weights: Path | None = option(
        None, "file of SAM (default: the official one in the folder of weights)"
    )
    image_size: int = option(512, "side to which images are squashed")
    num_query: int = option(25, "prompt tokens in each branch")
    position: str = option(
        "sine", "position encoding: sine on keys, or SAM's own on keys and values", ("sine", "sam")
    )
    wiring: str = option(
        "paper", "connections as in the paper, or as in the released program", ("paper", "release")
    )

    @property
    def segmenter(self) -> str:
        """The variant of SAM or SAM 2."""
        return self.sam_model or DEFAULT_SAM_MODEL[self.sam_version]

    def files(self) -> tuple[str, ...]:
        if self.random:
            return ()
        names = {self.backbone: self.backbone_weights, self.segmenter: self.sam_weights}
        return tuple(name for name, given in names.items() if not given and name != "tiny")

    def problems(self) -> list[str]:
        found = []
        if self.segmenter not in SAM_MODELS[self.sam_version]:
            names = ", ".join(SAM_MODELS[self.sam_version])
            found.append(
                f"--sam_model {self.segmenter} is no SAM version {self.sam_version}; "
                f"there are {names}"
            )
        if self.num_query < 1:
            found.append(f"--num_query must be at least 1, not {self.num_query}")
        if self.image_size < 32 or self.image_size % 32:
            found.append(f"--image_size must be a multiple of 32, not {self.image_size}")
        return found + self.useless_files(
            backbone_weights=self.backbone_weights, sam_weights=self.sam_weights
        )


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
    sam_weights = None
    if read_segmenter and not options.random:
        sam_weights = options.sam_weights or segmenter_weights(version, name)
    if options.shrunk:
        backbone = Backbone(options.backbone, SHRUNK[options.backbone]())
    elif options.random_weights or not read_backbone:
        backbone = Backbone(options.backbone, BUILDERS[options.backbone]({}))
    else:
        backbone_weights = options.backbone_weights
        if backbone_weights is None and options.backbone != "tiny":
            backbone_weights = official_path(options.backbone)
        backbone = build_backbone(options.backbone, backbone_weights)
    return backbone, build_segmenter(version, name, sam_weights, options.shrunk)


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
