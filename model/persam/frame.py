"""A picture's own pixels and the square that the network sees: there and back.

Decisions (points, boxes, masks) are made at the picture's own size; prompts are told in the square.
Shapes: S side of the square, s side of any map of it, H and W the picture's own size.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Frame:
    """Where one picture lies in the square: in its upper left, the rest is padding."""

    size: Size
    """H and W."""
    content: Size
    """The part of the square that shows the picture."""
    side: int
    """S."""

    @property
    def whole(self) -> Tensor:
        """The box of all of the picture: left, top, right, bottom."""
        return torch.tensor([0, 0, self.size[1] - 1, self.size[0] - 1])

    def restore(self, maps: Tensor) -> Tensor:
        """Bring maps of the square, N x s x s, to the picture's size: N x H x W, float32.

        First to S, then without the padding to H x W; bilinear, `align_corners` False.
        """
        large = _resize(maps.float()[:, None], (self.side, self.side))
        return _resize(large[..., : self.content[0], : self.content[1]], self.size)[:, 0]

    def to_square(self, places: Tensor) -> Tensor:
        """Places in the picture's pixels (... x 2: x, y) as places in the square."""
        (height, width), (inner_height, inner_width) = self.size, self.content
        scale = torch.tensor([inner_width / width, inner_height / height], dtype=torch.float64)
        # on the CPU, as not every device has float64
        return (places.cpu().double() * scale).float().to(places.device)

    def own_mask(self, mask: Tensor) -> Tensor:
        """The picture's part of a mask of the square, S x S, at its own size: H x W, nearest."""
        inside = mask[None, None, : self.content[0], : self.content[1]].float()
        return F.interpolate(inside, self.size, mode="nearest-exact")[0, 0]

    def within_square(self) -> "Frame":
        """The picture as large as it is, or as it lies in the square where that is smaller."""
        return replace(self, size=min(self.size, self.content))


def mask_box(mask: Tensor) -> Tensor | None:
    """Smallest and largest x and y of a mask's pixels (left, top, right, bottom); None: empty.

    Args:
        mask: H x W bool.
    """
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    if not len(rows):
        return None
    return torch.stack([columns[0, 0], rows[0, 0], columns[-1, 0], rows[-1, 0]])


def _resize(maps: Tensor, size: Size) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
