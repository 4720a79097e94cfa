"""What DC-SAM is made of and how it is trained: its flags, the paper's numbers, its builder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from common.cli import option
from model.backbones.backbone import BUILDERS, SHRUNK, Backbone, build_backbone
from model.dc_sam.network import DcSam
from model.dc_sam.prompt_generator import PAPER, RELEASE_SAM1, RELEASE_SAM2, PromptGenerator
from model.method import MethodOptions
from model.sam.adapters import adapter_names, add_adapters
from model.sam.variants import (
    DEFAULT_SAM_MODEL,
    SAM_MODELS,
    build_segmenter,
    segmenter_weights,
)
from model.weights import load_strictly, official_path

_TINY_MODEL = {
    "backbone": "tiny",
    "sam_model": "tiny",
    "image_size": 128,
    "num_query": 10,
    "position": "sam",
}
_COCO = {"epochs": 50, "lr": 1e-4}
_TINY_IMAGES = {**_TINY_MODEL, "epochs": 8, "bsz": 8, "lr": 2e-3}

HYPER_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "pascal": {"epochs": 100, "lr": 2e-4},
        "coco": _COCO,
        "coco_all": _COCO,
        "coco2pascal": _COCO,
        "video_images": {
            "max_iterations": 40_000,
            "epochs": 40,
            "lr": 1e-4,
            "sam_lr": 1.0,
            "bsz": 8,
            "episodes_per_epoch": 32_000,
        },
        "mask_tubes": {
            "max_iterations": 10_000,
            "epochs": 10,
            "lr": 1e-5,
            "sam_lr": 1.0,
            "bsz": 1,
            "episodes_per_epoch": 10_000,
        },
    },
    "tiny": {
        **dict.fromkeys(("pascal", "coco", "coco_all", "coco2pascal"), _TINY_IMAGES),
        "video_images": {**_TINY_IMAGES, "sam_lr": 0.02},
        "mask_tubes": {**_TINY_MODEL, "epochs": 2, "lr": 5e-5, "sam_lr": 5.0, "bsz": 4},
    },
}
"""Preset -> benchmark or stage -> defaults of flags.

"paper" has section 5's numbers, "tiny" is what trains on a laptop in minutes: there the rate of a
new prompt generator would spoil SAM 2's decoder, and that of a trained one would hardly move SAM
2's memory."""


@dataclass(frozen=True)
class DcSamOptions(MethodOptions):
    """What the model is made of (DC-SAM)."""

    method: ClassVar[str] = "dc_sam"

    backbone: str = option("resnet50", "network that gives frozen image features", tuple(BUILDERS))
    backbone_weights: Path | None = option(
        None, "file of the backbone (default: the official one in the folder of weights)"
    )
    sam_version: int = option(1, "version of SAM", (1, 2))
    sam_model: str | None = option(
        None,
        "variant of SAM: vit_b, vit_l, vit_h or tiny; sam2.1_hiera_t, ..., or tiny "
        "(default: largest)",
    )
    sam_weights: Path | None = option(
        None, "file of SAM (default: the official one in the folder of weights)"
    )
    random_weights: bool = option(False, "untrained frozen parts, to try things without files")
    shrunk: bool = option(
        False,
        "take the same classes with few layers and random weights, to try things in seconds",
    )
    image_size: int = option(512, "side to which images are squashed")
    num_query: int = option(25, "prompt tokens in each branch")
    fusion: str = option(
        "full",
        "features that are fused: of backbone and SAM, or prior masks and SAM's",
        ("full", "prior"),
    )
    prior: bool = option(False, "fuse prior masks and SAM features, the same as --fusion prior")
    segmenter_fusion: bool = option(
        True, "leave SAM features out of the fusion (ablation)", flag="--no_sam_fusion"
    )
    negative_branch: bool = option(
        True, "leave the negative branch out (ablation)", flag="--no_negative_branch"
    )
    cyclic: bool = option(True, "use plain cross-attention (ablation)", flag="--no_cyclic")
    position: str = option(
        "sine", "position encoding: sine on keys, or SAM's own on keys and values", ("sine", "sam")
    )
    wiring: str = option(
        "paper", "connections as in the paper, or as in the released program", ("paper", "release")
    )

    @property
    def uses_prior_fusion(self) -> bool:
        return self.prior or self.fusion == "prior"

    @property
    def random(self) -> bool:
        """Whether frozen parts have random weights."""
        return self.random_weights or self.shrunk

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
        if self.backbone.startswith("dinov2") and not self.uses_prior_fusion:
            found.append(f"--backbone {self.backbone} has no middle features: add --prior")
        if self.uses_prior_fusion and not self.segmenter_fusion:
            found.append("--prior fuses SAM features, which --no_sam_fusion leaves out")
        if self.num_query < 1:
            found.append(f"--num_query must be at least 1, not {self.num_query}")
        if self.image_size < 32 or self.image_size % 32:
            found.append(f"--image_size must be a multiple of 32, not {self.image_size}")
        if self.random and (self.backbone_weights or self.sam_weights):
            flag = "--shrunk" if self.shrunk else "--random_weights"
            found.append(f"{flag} leaves no use for --backbone_weights or --sam_weights")
        return found


def build_generator(options: DcSamOptions, middle_channels: int, channels: int) -> PromptGenerator:
    """Build the learnable part for a backbone's middle features and a segmenter's embedding."""
    release = RELEASE_SAM1 if options.sam_version == 1 else RELEASE_SAM2
    return PromptGenerator(
        middle_channels=middle_channels,
        channels=channels,
        num_query=options.num_query,
        fusion="prior" if options.uses_prior_fusion else "full",
        segmenter_fusion=options.segmenter_fusion,
        negative_branch=options.negative_branch,
        cyclic=options.cyclic,
        levels=options.sam_version == 2,
        wiring=PAPER if options.wiring == "paper" else release,
    )


def build_dc_sam(
    options: DcSamOptions, read_backbone: bool = True, read_segmenter: bool = True
) -> DcSam:
    """Build DC-SAM with the frozen parts' weights, the learnable part seeded by torch.

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
    segmenter = build_segmenter(version, name, sam_weights, options.shrunk)
    generator = build_generator(options, backbone.middle_channels, segmenter.channels)
    return DcSam(backbone, segmenter, generator, options.position, options.image_size)


def restore_dc_sam(options: DcSamOptions, weights: dict[str, Tensor], source: object) -> DcSam:
    """Build DC-SAM with a checkpoint's weights; a backbone or SAM 2 that it holds needs no file.

    Weights of SAM 2 that were trained stand in the place of the official ones, and adapters beside
    them.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another configuration, or a frozen part's file is missing.
    """
    has_backbone = any(name.startswith("backbone.") for name in weights)
    has_segmenter = any(name.startswith("segmenter.network.image_encoder.") for name in weights)
    model = build_dc_sam(options, read_backbone=not has_backbone, read_segmenter=not has_segmenter)
    if adapter_names(weights):
        add_adapters(model.segmenter.official)
    names = {name for name in model.state_dict() if name.startswith("generator.")}
    if has_backbone:
        names |= {name for name in model.state_dict() if name.startswith("backbone.")}
    names |= {name for name in weights if name.startswith("segmenter.")}
    load_strictly(model, weights, source, names)
    return model
