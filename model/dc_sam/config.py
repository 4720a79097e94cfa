"""The one place that knows names and sizes: builds DC-SAM from options."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common.cli import option
from common.errors import UsageError
from common.files import ROOT
from model.backbones.backbone import BUILDERS, Backbone, build_backbone
from model.dc_sam.network import DcSam
from model.dc_sam.prompt_generator import PAPER, RELEASE_SAM1, RELEASE_SAM2, PromptGenerator
from model.sam import sam1 as sam
from model.sam import sam2
from model.sam.segmenter import Segmenter
from model.weights import load_strictly, official_path, read_weights

TINY_WEIGHTS = {
    1: ROOT / "segment-anything" / "tiny_sam.safetensors",
    2: ROOT / "segment-anything-2" / "tiny_sam2.safetensors",
}
SAM_MODELS = {1: tuple(sam.SIZES), 2: sam2.NAMES}
DEFAULT_SAM_MODEL = {1: "vit_h", 2: "sam2.1_hiera_l"}

PRESETS = {
    "paper": {},
    "tiny": {
        "backbone": "tiny",
        "sam_model": "tiny",
        "image_size": 128,
        "num_query": 10,
        "position": "sam",
        "epochs": 8,
        "bsz": 8,
        "lr": 2e-3,
    },
}
"""Defaults that go together; "tiny" is what trains on a laptop in minutes."""


@dataclass(frozen=True)
class ModelOptions:
    """What the model is made of."""

    backbone: str = option("resnet50", "frozen image features", tuple(BUILDERS))
    backbone_weights: Path | None = option(None, "its file (default: the official one in weights/)")
    sam_version: int = option(1, "SAM or SAM 2", (1, 2))
    sam_model: str | None = option(
        None,
        "variant: vit_b, vit_l, vit_h or tiny; sam2.1_hiera_t, ..., or tiny (default: largest)",
    )
    sam_weights: Path | None = option(None, "its file (default: the official one in weights/)")
    random_weights: bool = option(False, "untrained frozen parts, to try things without files")
    image_size: int = option(512, "side to which images are squashed")
    num_query: int = option(25, "prompt tokens in each branch")
    fusion: str = option(
        "full", "backbone and SAM features, or prior masks and SAM features", ("full", "prior")
    )
    prior: bool = option(False, "the same as --fusion prior")
    segmenter_fusion: bool = option(True, "ablation: no SAM features", flag="--no_sam_fusion")
    negative_branch: bool = option(True, "ablation: one branch", flag="--no_negative_branch")
    cyclic: bool = option(True, "ablation: plain cross-attention", flag="--no_cyclic")
    position: str = option(
        "sine", "position encoding: sine on keys, or SAM's own on keys and values", ("sine", "sam")
    )
    wiring: str = option("paper", "the paper's, or the released program's", ("paper", "release"))

    @property
    def uses_prior_fusion(self) -> bool:
        return self.prior or self.fusion == "prior"

    @property
    def segmenter(self) -> str:
        """The variant of SAM or SAM 2."""
        return self.sam_model or DEFAULT_SAM_MODEL[self.sam_version]

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
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
        if self.random_weights and (self.backbone_weights or self.sam_weights):
            found.append("--random_weights leaves no use for --backbone_weights or --sam_weights")
        return found


def build_segmenter(version: int, name: str, weights: Path | None) -> Segmenter:
    """Build SAM (1) or SAM 2 (2), with random weights if there is no file."""
    segmenter = sam.Sam(name) if version == 1 else sam2.Sam2(name)
    if weights is not None:
        state = {k: v.float() for k, v in read_weights(weights, name).items()}
        load_strictly(segmenter.official, state, weights)
    return segmenter


def build_generator(options: ModelOptions, middle_channels: int, channels: int) -> PromptGenerator:
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


def build_model(
    options: ModelOptions, read_backbone: bool = True, read_segmenter: bool = True
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
    if read_segmenter and not options.random_weights:
        default = TINY_WEIGHTS[version] if name == "tiny" else official_path(name)
        sam_weights = options.sam_weights or default
    if options.random_weights or not read_backbone:
        backbone = Backbone(options.backbone, BUILDERS[options.backbone]({}))
    else:
        backbone_weights = options.backbone_weights
        if backbone_weights is None and options.backbone != "tiny":
            backbone_weights = official_path(options.backbone)
        backbone = build_backbone(options.backbone, backbone_weights)
    segmenter = build_segmenter(version, name, sam_weights)
    generator = build_generator(options, backbone.middle_channels, segmenter.channels)
    return DcSam(backbone, segmenter, generator, options.position)


def learnable_weights(model: nn.Module) -> dict[str, Tensor]:
    """What training changes, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def load_learnable(model: nn.Module, weights: dict[str, Tensor], source: object) -> None:
    """Copy learned weights into a model.

    Raises:
        UsageError: they belong to a model of another configuration.
    """
    own = learnable_weights(model)
    wrong = [
        name
        for name in sorted(own.keys() | weights.keys())
        if name not in own or name not in weights or own[name].shape != weights[name].shape
    ]
    if wrong:
        raise UsageError(
            f"{source} belongs to a model of another configuration: {len(wrong)} tensors differ, "
            f"the first is {wrong[0]}"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def load_tuned(model: nn.Module, weights: dict[str, Tensor], source: object) -> None:
    """Copy weights over those of the same names, and leave the others as they are.

    Raises:
        UsageError: a name or a shape is not the model's.
    """
    own = model.state_dict()
    wrong = [n for n, v in sorted(weights.items()) if n not in own or own[n].shape != v.shape]
    if wrong:
        raise UsageError(
            f"{source} belongs to a model of another configuration: {len(wrong)} tensors differ, "
            f"the first is {wrong[0]}"
        )
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)


def frozen_fingerprint(model: DcSam, changed: Collection[str] = ()) -> str:
    """A short digest of the frozen parts' weights, so that others are noticed.

    It reads a few numbers of every tensor.

    Args:
        changed: names in the model of weights that were trained, which do not count.
    """
    digest = hashlib.sha256()
    for prefix, part in (("backbone", model.backbone), ("segmenter", model.segmenter)):
        for name, value in part.state_dict().items():
            if f"{prefix}.{name}" not in changed:
                sample = value.flatten()[:: max(1, value.numel() // 4)].float().cpu()
                digest.update(name.encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]
