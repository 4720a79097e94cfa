"""Views: a picture and its masks, moved and coloured together as a `Placement` says.

Shapes: N masks, H and W the picture's own size, M the side of the square, h and w the view's part.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms

from common.images import Size
from common.pair_rules import Placement
from common.pixels import IMAGE_MEAN, IMAGE_STD

_CHANGES = {
    "brightness": transforms.adjust_brightness,
    "contrast": transforms.adjust_contrast,
    "saturation": transforms.adjust_saturation,
    "hue": transforms.adjust_hue,
}


class View(NamedTuple):
    """A picture in the square, from its upper left corner on."""

    image: Tensor
    """3 x M x M float32, normalised with ImageNet's mean and deviation; 0 outside of h x w."""
    masks: Tensor
    """N x M x M bool; False outside of h x w."""
    size: Size
    """h and w."""


def view_of(pixels: np.ndarray, masks: np.ndarray, placement: Placement, side: int) -> View:
    """Carry a placement out.

    Args:
        pixels: H x W x 3 uint8 RGB.
        masks: N x H x W bool.
        side: M.
    """
    if placement.flip:
        pixels, masks = pixels[:, ::-1], masks[:, :, ::-1]
    size = placement.window[2:]
    image = torch.zeros(3, side, side)
    image[:, : size[0], : size[1]] = _normalised(_coloured(_picture(pixels, placement), placement))
    moved = torch.zeros(len(masks), side, side, dtype=torch.bool)
    moved[:, : size[0], : size[1]] = torch.from_numpy(_masks(masks, placement))
    return View(image, moved, size)


def _picture(pixels: np.ndarray, placement: Placement) -> Tensor:
    """The window of the resized picture, 3 x h x w in [0, 1]."""
    top, left, height, width = placement.source
    part = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    above, before, h, w = placement.window
    if placement.antialias:
        resized = Image.fromarray(part).resize(placement.resized[::-1], Image.Resampling.BILINEAR)
        kept = np.asarray(resized)[above : above + h, before : before + w]
        return torch.from_numpy(kept.copy()).permute(2, 0, 1).float() / 255
    values = torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255
    resized = F.interpolate(values, placement.resized, mode="bilinear", align_corners=False)
    return resized[0, :, above : above + h, before : before + w]


def _masks(masks: np.ndarray, placement: Placement) -> np.ndarray:
    """The window of the masks resized to the nearest pixel (the upper left one of a cell)."""
    chosen = [
        start + (first + np.arange(kept)) * length // resized
        for start, length, resized, first, kept in zip(
            placement.source[:2],
            placement.source[2:],
            placement.resized,
            placement.window[:2],
            placement.window[2:],
            strict=True,
        )
    ]
    return masks.take(chosen[0], axis=1).take(chosen[1], axis=2)


def _coloured(image: Tensor, placement: Placement) -> Tensor:
    for name, amount in placement.colours:
        image = _CHANGES[name](image, amount)
    return image


def _normalised(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return (image - mean) / std
