"""DINOv2/14 in four sizes as a frozen backbone, with or without register tokens (timm's module)."""

from collections.abc import Mapping

import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor, nn

IMAGE_SIZE = 896
"""64 patches of 14 pixels: the side of SAM's embedding."""
PATCH = 14
"""Pixels along a side of a patch."""
SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}
"""Letter in the names of official files -> timm's word."""


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

    def __init__(self, transformer: VisionTransformer) -> None:
        super().__init__()
        self.transformer = transformer
        self.input_size = transformer.patch_embed.img_size[0]

    def middle(self, images: Tensor) -> tuple[None, Tensor]:
        """No stage 2, and the patch tokens before the norm as a map.

        The class and register tokens are left out: the norm treats every token by itself.
        """
        (patches,) = self.transformer.forward_intermediates(
            images, indices=1, norm=False, output_fmt="NCHW", intermediates_only=True
        )
        return None, patches

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
            positions = resample_abs_pos_embed(
                positions,
                new_size=list(self.transformer.patch_embed.grid_size),
                num_prefix_tokens=0,
                antialias=registers,  # as each of the two was trained
            )
            if registers:
                renamed["cls_token"] = renamed["cls_token"] + class_position
                renamed["pos_embed"] = positions
            else:
                renamed["pos_embed"] = torch.cat([class_position, positions], dim=1)
        return {f"transformer.{name}": value for name, value in renamed.items()}
