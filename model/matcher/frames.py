"""How frames of a video come to Matcher: squashed to sides of 9 to 16, or of 16 to 9.

Source: the branch vos-dev of Matcher's released program.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.geometry import Geometry
from common.images import Size
from common.pixels import IMAGE_MEAN, IMAGE_STD


@dataclass(frozen=True)
class WideFrames(Geometry):
    """A rectangle in the upper left of the square, lying or (upright frames) standing."""

    padded: bool = True
    short: int = 504
    """The rectangle's shorter side; the longer one is that of the square."""

    def content(self, size: Size) -> Size:
        if size[0] <= size[1]:
            return self.short, self.side
        return self.side, self.short

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        levels = self._levels(pixels).round().clamp(0, 255)
        return levels.permute(1, 2, 0).byte().numpy()

    def image(self, pixels: np.ndarray) -> Tensor:
        """An H x W x 3 uint8 frame, 3 x S x S; bicubic, and what overshoots stays so."""
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
        return self._pad((self._levels(pixels) / 255 - mean) / std)

    def _levels(self, pixels: np.ndarray) -> Tensor:
        """Grey levels of the rectangle, 3 x h x w float32, not rounded."""
        values = torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1)[None].float()
        size = self.content(pixels.shape[:2])
        return F.interpolate(values, size, mode="bicubic", align_corners=False)[0]
