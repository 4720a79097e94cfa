"""Frozen image features: VGG-16-BN, ResNet-50/101, Swin-B, DINOv2-B/14 and the tiny ResNet.

Shapes: B batch, M middle channels, C high-level channels, S side of the stage-3 map.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import UsageError
from common.files import ROOT
from model.backbones.dino import Dino, vit_14
from model.backbones.resnet import SIZES, ResNet, ResNetSize
from model.backbones.swin import SwinB
from model.backbones.vgg import Vgg16
from model.correspondence import shrink_mask
from model.official_paths import official_path
from model.weights import load_strictly, read_weights

TINY_WEIGHTS = ROOT / "segment-anything" / "tiny_backbone.safetensors"


class Network(Protocol):
    """What a module has to offer to serve as a backbone."""

    middle_channels: int
    input_size: int | None

    def middle(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        """Stage 2, if there is one, and stage 3."""

    def high(self, stage3: Tensor) -> Tensor:
        """Stage 4."""

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file under this network's names, less those it never uses."""


@dataclass(frozen=True)
class BackboneFeatures:
    """Features of a batch of images."""

    middle: Tensor | None
    """Stages 2 and 3 side by side, B x M x S x S; None for DINOv2, which has no stages."""
    trunk: Tensor
    """What `Backbone.high` goes on from: stage 3, or DINOv2's patch tokens before their norm."""


class Backbone(nn.Module):
    """A frozen network: no gradient reaches it and it never leaves evaluation mode."""

    def __init__(self, name: str, network: Network) -> None:
        """Freeze a network.

        Args:
            network: a module with the methods of `Network`.
        """
        super().__init__()
        self.name = name
        self.network = network.requires_grad_(False)
        self.middle_channels: int = network.middle_channels
        """M; 0 for DINOv2, which therefore needs the *prior* fusion."""
        self.input_size: int | None = network.input_size
        """Images are resized to this side first; None: they are taken as they are."""
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, so that BatchNorm and Dropout never move."""
        return super().train(False)

    @torch.no_grad()
    def extract(self, images: Tensor) -> BackboneFeatures:
        """Middle features and trunk of normalised images, B x 3 x H x W."""
        if self.input_size is not None and images.shape[-2:] != (self.input_size,) * 2:
            images = _resize(images, (self.input_size, self.input_size))
        stage2, stage3 = self.network.middle(images)
        if stage2 is None:
            return BackboneFeatures(None, stage3)
        if stage2.shape[-2:] != stage3.shape[-2:]:
            stage2 = _resize(stage2, stage3.shape[-2:])
        return BackboneFeatures(torch.cat([stage2, stage3], dim=1), stage3)

    @torch.no_grad()
    def high(self, trunk: Tensor, mask: Tensor | None) -> Tensor:
        """High-level features (algorithm 1, step 2), B x C x s x s; s < S for Swin-B only.

        Args:
            trunk: from `extract`.
            mask: 1 where the image may be seen, else 0, B x 1 x any size; None: everywhere.
        """
        if mask is not None:
            trunk = trunk * shrink_mask(mask.to(trunk.dtype), trunk.shape[-1])
        return self.network.high(trunk)


BUILDERS: dict[str, Callable[[Mapping[str, Tensor]], Network]] = {
    "vgg16": lambda state: Vgg16(),
    "resnet50": lambda state: ResNet(_with_stem_of(state, "resnet50")),
    "resnet101": lambda state: ResNet(_with_stem_of(state, "resnet101")),
    "swin_b": lambda state: SwinB(),
    "dinov2_b": lambda state: Dino(vit_14("b")),
    "dinov2_b_reg": lambda state: Dino(vit_14("b", registers=True)),
    "tiny": lambda state: ResNet(SIZES["tiny"]),
}
"""Name -> the network with random weights that an official state dict (or an empty one) fits."""

_DINO_SHRUNK = {"side": 112, "embed_dim": 48, "depth": 2, "num_heads": 4}
SHRUNK: dict[str, Callable[[], Network]] = {
    "vgg16": lambda: Vgg16(narrower=16),
    "resnet50": lambda: ResNet(SIZES["shrunk"]),
    "resnet101": lambda: ResNet(SIZES["shrunk"]),
    "swin_b": lambda: SwinB(width=32, depths=(1, 1, 2, 1)),
    "dinov2_b": lambda: Dino(vit_14("b", **_DINO_SHRUNK)),
    "dinov2_b_hub": lambda: Dino(vit_14("b", **_DINO_SHRUNK), positions="hub"),
    "dinov2_b_reg": lambda: Dino(vit_14("b", registers=True, **_DINO_SHRUNK)),
    "tiny": lambda: ResNet(SIZES["tiny"]),
}
"""Name -> the same class with few and narrow layers and random weights."""


def build_backbone(name: str, weights: Path | None) -> Backbone:
    """Build a frozen backbone.

    Args:
        name: one of `BUILDERS`.
        weights: an official file; None: random weights, for the tiny backbone those shipped here.

    Raises:
        UsageError: the name is unknown, or the file is missing, broken or of another network.
    """
    if name not in BUILDERS:
        raise UsageError(f"unknown backbone {name!r}; there are {', '.join(BUILDERS)}")
    if name == "tiny" and weights is None:
        weights = TINY_WEIGHTS
    state = {} if weights is None else read_weights(weights, name)
    network = BUILDERS[name](state)
    if weights is not None:
        load_strictly(network, network.rename_official(state), weights)
    return Backbone(name, network)


def frozen_backbone(
    name: str, weights: Path | None = None, random: bool = False, shrunk: bool = False
) -> Backbone:
    """Build a frozen backbone of what a method's flags say.

    Args:
        weights: a file of it; None: the official one in the folder of weights.
        random: leave the weights random, and read no file.
        shrunk: the same, with few and narrow layers.

    Raises:
        UsageError: see `build_backbone`.
    """
    if shrunk:
        return Backbone(name, SHRUNK[name]())
    if random:
        return Backbone(name, BUILDERS[name]({}))
    official = weights is None and name != "tiny"
    return build_backbone(name, official_path(name) if official else weights)


def _with_stem_of(state: Mapping[str, Tensor], name: str) -> ResNetSize:
    """A deep stem unless the file has torchvision's single 7x7 convolution."""
    return (
        replace(SIZES[name], stem=(64,)) if state and "conv3.weight" not in state else SIZES[name]
    )


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size, mode="bilinear", align_corners=True)
