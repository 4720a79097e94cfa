"""How pictures come to the square that a network takes, and how maps come back.

Shapes: S the square's side, H and W a picture's own size, h and w its part of the square.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from common.images import Size
from common.pixels import normalize, squash, squash_mask


def touched(mark: np.ndarray, size: Size) -> np.ndarray:
    """The cells of a grid of some size that a mark, H x W, touches: h x w bool; none is lost."""
    rows, columns = np.nonzero(mark)
    cells = np.full(size, False)
    cells[rows * size[0] // mark.shape[0], columns * size[1] // mark.shape[1]] = True
    return cells


def nearest(values: np.ndarray, size: Size) -> np.ndarray:
    """Values, H x W, at the upper left of each cell of a grid of some size: h x w."""
    if values.shape == size:
        return values
    rows, columns = (
        np.arange(small) * full // small for small, full in zip(size, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]


@dataclass(frozen=True)
class Geometry:
    """Pictures are squashed to a square, or keep their proportions and are padded."""

    side: int
    """S."""
    padded: bool = False
    """Make the longer side S, and pad to the right and below; False: squash."""

    def content(self, size: Size) -> Size:
        """Which part of the square shows a picture: h and w, from the upper left corner."""
        if not self.padded:
            return self.side, self.side
        scale = self.side / max(size)
        height, width = (max(1, int(side * scale + 0.5)) for side in size)
        return height, width

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """An H x W x 3 uint8 picture at its size in the square, h x w x 3 uint8.

        Bilinear with a filter as wide as the reduction, so that small pictures show no aliasing.
        """
        if not self.padded:
            return squash(pixels, self.side)
        height, width = self.content(pixels.shape[:2])
        if pixels.shape[:2] == (height, width):
            return pixels
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        return np.array(resized)

    def image(self, pixels: np.ndarray) -> Tensor:
        """An H x W x 3 uint8 picture as networks take it: normalised, 3 x S x S."""
        return self._pad(normalize(self.picture(pixels)))

    def mask(self, mask: np.ndarray, keep_small: bool = False) -> Tensor:
        """An H x W mask of 0 and 1 (or bool) as S x S float32, exactly 0 or 1 (nearest).

        Args:
            keep_small: where nothing would be left of it, mark every cell that contains any of it.
        """
        if not self.padded:
            return squash_mask(mask, self.side, keep_small)
        values = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.uint8))[None, None]
        content = self.content(mask.shape)
        small = F.interpolate(values, size=content, mode="nearest")
        if keep_small and not small.any():
            small = F.adaptive_max_pool2d(values.float(), content)
        return self._pad(small[0, 0].float())

    def mark(self, mark: np.ndarray, kind: str = "mask") -> Tensor:
        """What marks an object, H x W, as S x S float32, exactly 0 or 1 and never lost.

        Points and scribbles are thin: every cell that they touch is marked.

        Args:
            kind: one of `KINDS`; a box is filled.
        """
        if kind in ("mask", "box"):
            return self.mask(mark, keep_small=True)
        return self._pad(torch.from_numpy(touched(mark, self.content(mark.shape))).float())

    def masks(self, masks: Tensor) -> Tensor:
        """Masks of one picture, N x H x W of 0 and 1, as N x S x S float32; none is lost."""
        squares = [self.mark(mask) for mask in masks.cpu().numpy()]
        return torch.stack(squares).to(masks.device)

    def padding(self, size: Size) -> Tensor:
        """Which places of the square show nothing of a picture, S x S bool."""
        outside = torch.ones(self.side, self.side, dtype=torch.bool)
        height, width = self.content(size)
        outside[:height, :width] = False
        return outside

    def paddings(self, sizes: Tensor) -> Tensor:
        """`padding` of pictures of these sizes, int64 N x 2: N x S x S bool."""
        return torch.stack([self.padding(tuple(size)) for size in sizes.tolist()])

    def crop(self, maps: Tensor, size: Size) -> Tensor:
        """The part of ... x S x S maps that shows a picture of some size: ... x h x w."""
        height, width = self.content(size)
        return maps[..., :height, :width]

    def _pad(self, content: Tensor) -> Tensor:
        height, width = content.shape[-2:]
        return F.pad(content, (0, self.side - width, 0, self.side - height))
