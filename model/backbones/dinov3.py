"""DINOv3 ViT-S, B and L with patches of 16 pixels: dense features (timm's modules).

Source: Siméoni et al., "DINOv3", 2025; the official checkpoints of LVD-1689M.
Shapes: B batch, C channels, h and w cells of 16 pixels, N = h*w.
"""

import math
import re
from collections.abc import Mapping, Sequence

import timm
import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from common.errors import UsageError
from model.backbones.sizes import DINOV3_PATCH

NAMES = {"dinov3_s": "small", "dinov3_b": "base", "dinov3_l": "large"}
"""Name of the official weights -> timm's word for the size."""
_PREFIX = "transformer."
_PERIODS = f"{_PREFIX}rope.periods"
_NOT_USED = ("mask_token", "local_cls_norm.", "embeddings.mask_token")
"""Of pre-training only."""
_FROM_HUGGING_FACE = {
    "embeddings.register_tokens": "reg_token",
    "embeddings.cls_token": "cls_token",
    "embeddings.patch_embeddings.": "patch_embed.proj.",
    "attention.o_proj.": "attn.proj.",
    "layer_scale1.lambda1": "gamma_1",
    "layer_scale2.lambda1": "gamma_2",
    "mlp.up_proj.": "mlp.fc1.",
    "mlp.down_proj.": "mlp.fc2.",
}
_FROM_META = {"storage_tokens": "reg_token", "ls1.gamma": "gamma_1", "ls2.gamma": "gamma_2"}


def vit_16(name: str, **sizes: int) -> Eva:
    """A ViT of `NAMES` with random weights.

    Args:
        sizes: timm's names of what is to be smaller: depth, embed_dim, num_heads.
    """
    return timm.create_model(
        f"vit_{NAMES[name]}_patch16_dinov3_qkvb", pretrained=False, num_classes=0, **sizes
    )


def periods(exact: bool = False) -> Tensor:
    """The 16 periods of the rotary position encoding, 100^(n/16).

    Args:
        exact: leave out the rounding to bfloat16 that the official checkpoints hold.
    """
    values = 100 ** (torch.arange(16, dtype=torch.float32) / 16)
    return values if exact else values.bfloat16().float()


class DinoV3(nn.Module):
    """Patch tokens after the final norm, as a map; no mode but evaluation."""

    stride = DINOV3_PATCH

    def __init__(self, transformer: Eva, exact_periods: bool = False) -> None:
        """Take a ViT of `vit_16`.

        Args:
            exact_periods: of the position encoding, whatever a file holds; else those of the file,
                and rounded ones where it has none.
        """
        super().__init__()
        self.transformer = transformer
        self.exact_periods = exact_periods
        # in the state dict, as Meta's files have them; timm computes them anew
        transformer.rope.register_buffer("periods", periods(exact_periods))
        self.channels: int = transformer.embed_dim
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "DinoV3":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor, coordinate_factors: Sequence[float] = ()) -> Tensor:
        """Features of normalised images, B x 3 x H x W with sides that are multiples of 16.

        Args:
            coordinate_factors: of each block, what the positions' coordinates are multiplied by,
                which training draws at random; none: 1.

        Returns:
            B x C x h x w.
        """
        height, width = images.shape[-2] // DINOV3_PATCH, images.shape[-1] // DINOV3_PATCH
        tokens = self.tokens(images, coordinate_factors)[:, self.transformer.num_prefix_tokens :]
        return tokens.transpose(1, 2).unflatten(2, (height, width))

    def tokens(self, images: Tensor, coordinate_factors: Sequence[float] = ()) -> Tensor:
        """All tokens after the final norm: class, 4 registers and patches, B x (5 + N) x C."""
        network = self.transformer
        patches = network.patch_embed(images)  # B h w C
        batch, height, width, _ = patches.shape
        prefix = torch.cat([network.cls_token, network.reg_token], dim=1).expand(batch, -1, -1)
        tokens = torch.cat([prefix, patches.flatten(1, 2)], dim=1)
        factors = coordinate_factors or [1.0] * len(network.blocks)
        rotations = {factor: self.rotation(height, width, factor) for factor in {*factors}}
        for block, factor in zip(network.blocks, factors, strict=True):
            tokens = block(tokens, rope=rotations[factor])
        return network.norm(tokens)

    def rotation(self, height: int, width: int, factor: float = 1.0) -> Tensor:
        """Sines and cosines by which queries and keys are rotated, N x (64 + 64).

        Each axis runs from -1 to 1 by its own number of cells; a coordinate is that of a cell's
        centre, and it is multiplied by the factor.
        """
        lengths = self.transformer.rope.periods
        axes = [
            (2 * (torch.arange(cells, device=lengths.device) + 0.5) / cells - 1) * factor
            for cells in (height, width)
        ]
        places = torch.cartesian_prod(*axes)  # N 2, row-major
        angles = (2 * math.pi * places[:, :, None] / lengths).flatten(1).repeat(1, 2)
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a published file under this module's names.

        Files of Meta, of timm (`vit_*_patch16_dinov3[_qkvb]`) and of Hugging Face (transformers'
        `DINOv3ViTModel`) differ in names; the biases of keys, which are 0, are nobody's.

        Raises:
            UsageError: a Hugging Face file lacks one of the three projections of a block.
        """
        if any(name.startswith("embeddings.") for name in state):
            renamed = self._from_hugging_face(state)
        else:
            renamed = _from_meta(state)
        if not any(name.endswith("_bias") for name in renamed):  # timm's files without "qkvb"
            for block in range(len(self.transformer.blocks)):
                for bias in ("q_bias", "v_bias"):
                    renamed[f"blocks.{block}.attn.{bias}"] = torch.zeros(self.channels)
        found = {f"{_PREFIX}{name}": value for name, value in renamed.items()}
        own = periods(self.exact_periods)
        if not self.exact_periods and "rope_embed.periods" in state:
            own = state["rope_embed.periods"].float()
        return {**found, _PERIODS: own}

    def _from_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        state = {re.sub(r"^(model\.)?layer\.", "blocks.", name): v for name, v in state.items()}
        renamed = {}
        for block in range(len(self.transformer.blocks)):
            parts = [f"blocks.{block}.attention.{letter}_proj.weight" for letter in "qkv"]
            if missing := [name for name in parts if name not in state]:
                raise UsageError(f"a DINOv3 file of transformers lacks {', '.join(missing)}")
            renamed[f"blocks.{block}.attn.qkv.weight"] = torch.cat([state.pop(n) for n in parts])
            for letter in "qv":
                bias = state.pop(f"blocks.{block}.attention.{letter}_proj.bias", None)
                if bias is not None:
                    renamed[f"blocks.{block}.attn.{letter}_bias"] = bias
        return renamed | _replaced(state, _FROM_HUGGING_FACE)


def _from_meta(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Meta's names, or timm's own, which pass."""
    renamed = {}
    for name, value in _replaced(state, _FROM_META).items():
        if name.endswith("attn.qkv.bias"):
            stem = name.removesuffix("qkv.bias")
            renamed[f"{stem}q_bias"], _, renamed[f"{stem}v_bias"] = value.chunk(3)
        elif not name.endswith(".bias_mask") and name != "rope_embed.periods":
            renamed[name] = value
    return renamed


def _replaced(state: Mapping[str, Tensor], words: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        if name.startswith(_NOT_USED):
            continue
        for theirs, ours in words.items():
            name = name.replace(theirs, ours)
        renamed[name] = value
    return renamed
