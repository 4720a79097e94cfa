"""How pictures lie on SINE's canvas: a square of whole tokens, in its upper left the picture.

The rest is the mean colour, and takes part in everything: the network was trained with it.
Shapes: S the canvas' side, h and w the part that shows a picture, H and W a picture's own size.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.geometry import Geometry
from common.images import Size
from common.pixels import IMAGE_MEAN, IMAGE_STD, normalize, squash, squash_mask

_SHARE = 37 / 64


@dataclass(frozen=True)
class Canvas(Geometry):
    """A geometry that is padded, whatever the fit."""

    padded: bool = True
    fit: str = "whole"
    """One of `FITS`."""
    cell: int = 14
    """Pixels along a side of a token."""
    channel_order: str = "rgb"
    """bgr: colours are exchanged, as in the published instance benchmarks."""

    def content(self, size: Size) -> Size:
        """Which part of the canvas shows a picture: h and w, from the upper left corner."""
        if self.fit == "whole":
            return super().content(size)
        if self.fit == "squashed":
            side = int(self.side // self.cell * _SHARE) * self.cell
            return side, side
        height, width = self.frame(size)
        if width > height:
            return max(1, int(self.side / (width / height))), self.side
        return self.side, max(1, int(self.side * (width / height)))

    def frame(self, size: Size) -> Size:
        """At which size masks of a video's frames are decided: that of their part of the canvas;
        with the fit "video" the shorter side is half of the canvas' side."""
        if self.fit != "video":
            return self.content(size)
        short, long = self.side // 2, int(self.side // 2 * max(size) / min(size))
        return (short, long) if size[0] <= size[1] else (long, short)

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """An H x W x 3 uint8 picture at its size on the canvas, h x w x 3 uint8."""
        if self.fit == "whole":
            return super().picture(pixels)
        if self.fit == "squashed":
            return squash(pixels, self.content(pixels.shape[:2])[0])
        values = torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1).float()
        resized = self._in_two_steps(values)
        return resized.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    def image(self, pixels: np.ndarray) -> Tensor:
        """An H x W x 3 uint8 picture as networks take it: normalised, 3 x S x S."""
        if self.channel_order == "bgr":
            pixels = pixels[..., ::-1]
        if self.fit != "video":
            return self._pad(normalize(self.picture(pixels)))
        values = torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(three).view(3, 1, 1) for three in (IMAGE_MEAN, IMAGE_STD))
        return self._pad((self._in_two_steps(values) - mean) / std)

    def mask(self, mask: np.ndarray, keep_small: bool = False) -> Tensor:
        """An H x W mask of 0 and 1 (or bool) as S x S float32, exactly 0 or 1 (nearest).

        Args:
            keep_small: where nothing would be left of it, mark every cell that contains any of it.
        """
        if self.fit == "whole":
            return super().mask(mask, keep_small)
        if self.fit == "squashed":
            return self._pad(squash_mask(mask, self.content(mask.shape)[0], keep_small))
        values = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.uint8))[None, None]
        content = self.content(mask.shape)
        small = F.interpolate(F.interpolate(values, self.frame(mask.shape)), content)
        if keep_small and not small.any():
            small = F.adaptive_max_pool2d(values.float(), content)
        return self._pad(small[0, 0].float())

    def decided(self, logits: Tensor, size: Size) -> Tensor:
        """Logits of the canvas, N x any side, at the size at which masks of a picture of some size
        are decided: N x `frame(size)`."""
        large = F.interpolate(
            logits[None].float(), (self.side, self.side), mode="bilinear", align_corners=False
        )
        inside, wanted = self.crop(large, size), self.frame(size)
        if inside.shape[-2:] != wanted:
            inside = F.interpolate(inside, wanted, mode="bilinear", align_corners=False)
        return inside[0]

    def replaced(self, masks: Tensor, size: Size) -> Tensor:
        """Masks of `decided`, back on the canvas: N x S x S, exactly 0 or 1."""
        return self._pad(F.interpolate(masks[None].float(), self.content(size))[0])

    def _in_two_steps(self, values: Tensor) -> Tensor:
        size = values.shape[-2:]
        for step in (self.frame(size), self.content(size)):
            values = F.interpolate(values[None], step, mode="bilinear", align_corners=False)[0]
        return values
