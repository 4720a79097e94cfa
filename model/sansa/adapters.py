"""AdaptFormer adapters in the last stages of SAM 2's image encoder: what SANSA trains.

Source: SANSA (arXiv 2505.21795); the adapters are AdaptFormer's (arXiv 2205.13535).
Shapes: B images, H and W sides of a feature map, D channels.
"""

from collections.abc import Mapping

from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock, do_pool
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import Tensor, nn
from torch.nn import functional as F

SCALE = 0.1
"""How much of an adapter's answer is added."""
FIRST_STAGE = 2
"""Blocks are adapted from this stage on, counted from 0."""


class Adapter(nn.Module):
    """A narrow detour, B x H x W x D to the same shape; it begins with zeros."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.adapter_layer_norm_before = nn.LayerNorm(channels)
        self.down_proj = nn.Linear(channels, width)
        self.up_proj = nn.Linear(width, channels)
        nn.init.kaiming_uniform_(self.down_proj.weight, a=5**0.5)
        for zero in (self.down_proj.bias, self.up_proj.weight, self.up_proj.bias):
            nn.init.zeros_(zero)

    def forward(self, features: Tensor) -> Tensor:
        narrow = F.relu(self.down_proj(self.adapter_layer_norm_before(features)))
        return SCALE * self.up_proj(narrow)


class AdaptedBlock(MultiScaleBlock):
    """A block of the encoder with an adapter beside its MLP."""

    adapter: Adapter

    def forward(self, x: Tensor) -> Tensor:
        attended = self.attend(x)
        return attended + self.mlp(self.norm2(attended)) + self.adapter(attended)

    def attend(self, features: Tensor) -> Tensor:
        """The block's first half: attention in windows, or over the whole map, and its shortcut."""
        normed = self.norm1(features)
        shortcut = features
        if self.dim != self.dim_out:
            shortcut = do_pool(self.proj(normed), self.pool)
        if not self.window_size:
            return shortcut + self.attn(normed)
        windows, padded = window_partition(normed, self.window_size)
        size, window = shortcut.shape[1:3], self.window_size
        if self.q_stride:  # queries were pooled, and windows with them
            window //= self.q_stride[0]
            padded = tuple(side + -side % window for side in size)
        return shortcut + window_unpartition(self.attn(windows), window, padded, size)


def adapted_blocks(trunk: Hiera) -> list[int]:
    """Which blocks SANSA adapts: those whose output belongs to one of the last two stages."""
    return list(range(trunk.stage_ends[FIRST_STAGE - 1] + 1, len(trunk.blocks)))


def adapter_widths(trunk: Hiera, factor: float) -> dict[int, int]:
    """By block, the width of its adapter: a part of the width of what the block is given."""
    return {index: int(factor * trunk.blocks[index].dim) for index in adapted_blocks(trunk)}


def add_adapters(trunk: Hiera, widths: Mapping[int, int]) -> None:
    """Adapt blocks in place; the trunk computes what it did until the adapters have learned.

    The trunk's own weights keep their names, and everything but the adapters is frozen.
    """
    trunk.requires_grad_(False)
    for index, width in widths.items():
        block = trunk.blocks[index]
        block.__class__ = AdaptedBlock
        block.adapter = Adapter(block.dim_out, width).to(block.norm2.weight.device)


def widths_of(weights: Mapping[str, Tensor], prefix: str) -> dict[int, int]:
    """By block, the width of the adapters that a state dict holds.

    Args:
        prefix: what stands before the number of the block.
    """
    mark = ".adapter.down_proj.weight"
    return {
        int(name[len(prefix) : -len(mark)]): value.shape[0]
        for name, value in weights.items()
        if name.startswith(prefix) and name.endswith(mark)
    }
