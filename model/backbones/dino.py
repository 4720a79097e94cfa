"""DINOv2/14 in four sizes as a frozen backbone, with or without register tokens (timm's module)."""

from collections.abc import Mapping

import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from model.backbones.sizes import PATCH, SIZES

IMAGE_SIZE = 896
"""64 patches of 14 pixels: the side of SAM's embedding."""
_HUB_OFFSET = 0.1


def vit_14(
    size: str, side: int = IMAGE_SIZE, registers: bool = False, **sizes: int
) -> VisionTransformer:
    """DINOv2's ViT/14 of a size, one of `SIZES`, with random weights.

    Args:
        side: of the images, a multiple of `PATCH`.
        sizes: timm's names of what is to be smaller.
    """
    kind = "reg4_dinov2" if registers else "dinov2"
    return timm.create_model(
        f"vit_{SIZES[size]}_patch{PATCH}_{kind}",
        pretrained=False,
        num_classes=0,
        **{"img_size": side, **sizes},
    )


class Dino(nn.Module):
    """Patch tokens before and after the final norm.

    There are no middle features, so only the *prior* fusion can use this backbone.
    """

    middle_channels = 0

    def __init__(self, transformer: VisionTransformer, positions: str = "size") -> None:
        """Wrap a transformer.

        Args:
            positions: one of `POSITIONS`. With *size*, images come at the side which the
                transformer was built for, and a file's table is resized once. With *hub*, the table
                stays as it is and is resized for images of any sides that `PATCH` divides; build
                the transformer for `TABLE_SIDE`.
        """
        super().__init__()
        self.transformer, self.positions = transformer, positions
        self.input_size = transformer.patch_embed.img_size[0] if positions == "size" else None

    def middle(self, images: Tensor) -> tuple[None, Tensor]:
        """No stage 2, and the patch tokens before the norm as a map.

        The class and register tokens are left out: the norm treats every token by itself.
        """
        vit = self.transformer
        patches = vit.patch_embed.proj(images)  # B C h w
        grid = patches.shape[-2:]
        patches = patches + self.patch_positions(grid)
        first = vit.cls_token
        if vit.reg_token is None:
            first = first + vit.pos_embed[:, :1]
        else:  # the class token contains its position
            first = torch.cat([first, vit.reg_token], dim=1)
        tokens = torch.cat(
            [first.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1
        )
        tokens = vit.blocks(tokens)[:, first.shape[1] :]
        return None, tokens.transpose(1, 2).unflatten(2, grid)

    def patch_positions(self, grid: tuple[int, int]) -> Tensor:
        """What is added to patches of a grid, 1 x C x h x w."""
        vit, own = self.transformer, self.transformer.patch_embed.grid_size
        registers = vit.reg_token is not None
        table = vit.pos_embed if registers else vit.pos_embed[:, 1:]
        if tuple(grid) != tuple(own):
            table = (
                _resize_by_size(table, grid, antialias=True)
                if registers
                else _resize_by_factor(table, own, grid)
            )
        return table.transpose(1, 2).unflatten(2, grid)

    def high(self, stage3: Tensor) -> Tensor:
        """The normed patch tokens as a map; B x C x S x S to the same shape."""
        return self.transformer.norm(stage3.movedim(1, -1)).movedim(-1, 1)

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of Meta's `dinov2_vit*14*_pretrain.pth` under timm's names.

        The position embedding is resized to the transformer's grid; with registers, timm's class
        token contains its own position. The mask token serves pre-training only and is dropped.
        The giant's gated layers have names of their own.
        """
        renamed = {
            name.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."): value
            for name, value in state.items()
            if name != "mask_token"
        }
        registers = "register_tokens" in renamed
        if registers:
            renamed["reg_token"] = renamed.pop("register_tokens")
        if {"pos_embed", "cls_token"} <= renamed.keys():
            class_position, positions = renamed["pos_embed"][:, :1], renamed["pos_embed"][:, 1:]
            positions = _resize_by_size(
                positions, self.transformer.patch_embed.grid_size, registers
            )
            if registers:
                renamed["cls_token"] = renamed["cls_token"] + class_position
                renamed["pos_embed"] = positions
            else:
                renamed["pos_embed"] = torch.cat([class_position, positions], dim=1)
        return {f"transformer.{name}": value for name, value in renamed.items()}


def _resize_by_size(table: Tensor, grid: tuple[int, int], antialias: bool) -> Tensor:
    """Positions of patches, 1 x N x C, for another grid.

    Args:
        antialias: as the networks with registers were trained; those without were not.
    """
    return resample_abs_pos_embed(
        table, new_size=list(grid), num_prefix_tokens=0, antialias=antialias
    )


def _resize_by_factor(table: Tensor, own: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Positions of patches, 1 x N x C, for another grid, as DINOv2's own program has it."""
    cells = table.float().transpose(1, 2).unflatten(2, own)
    factors = [(new + _HUB_OFFSET) / old for new, old in zip(grid, own, strict=True)]
    resized = F.interpolate(cells, scale_factor=factors, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(table.dtype)
