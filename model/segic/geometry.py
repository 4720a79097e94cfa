"""How pictures come to SegIC's square: the long side fits, without a filter, and the rest is 0.

Shapes: S side of the square, H and W a picture's own size, h and w its part of the square.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.geometry import Geometry
from common.images import Size
from common.pixels import standardize


class SegicGeometry(Geometry):
    """Padded squares, sampled as the published program samples them.

    One factor serves both sides and says where samples lie, also where the picture's part ends a
    fraction of a pixel earlier; a reduction is not smoothed. Pictures are never rounded to grey
    levels in between.
    """

    def content(self, size: Size) -> Size:
        """h and w, rounded down: a long side of 612 pixels gives S - 1, as 612 (S / 612) < S."""
        factor = self.side / max(size)
        height, width = (max(1, math.floor(float(side) * factor)) for side in size)
        return height, width

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """The picture as it is: `image` reduces it, without rounding."""
        return pixels

    def image(self, pixels: np.ndarray) -> Tensor:
        values = torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1).float()
        return self._pad(standardize(self.sample(values)))

    def mask(self, mask: np.ndarray, keep_small: bool = False) -> Tensor:
        """An H x W mask of 0 and 1 (or bool) as S x S float32, exactly 0 or 1.

        A pixel is inside where more than half of what is sampled there is.
        """
        values = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None]
        small = (self.sample(values) > 0.5).float()
        if keep_small and not small.any():
            small = F.adaptive_max_pool2d(values, self.content(mask.shape))
        return self._pad(small[0])

    def sample(self, values: Tensor) -> Tensor:
        """... x H x W to ... x h x w, bilinear."""
        size, factor = values.shape[-2:], self.side / max(values.shape[-2:])
        # of a side so short that rounding down would leave nothing, one pixel is left
        narrow = min(size) * factor < 1
        way = {"size": self.content(size)} if narrow else {"scale_factor": factor}
        return F.interpolate(values[None], mode="bilinear", align_corners=False, **way)[0]
