"""At which size masks are compared: a protocol's, whatever square a method works at.

Shapes: S side of a method's square, H and W a picture's own size.
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import UsageError
from common.geometry import Geometry
from common.images import IGNORED

ORIGINAL, PADDED = "original", "original padded"
_SQUASHED = re.compile(r"(\d+) squashed")


class Compared(NamedTuple):
    """What is compared; all 1 x h x w bool and of one size."""

    found: Tensor
    mask: Tensor
    ignored: Tensor


class ScoringSize:
    """A size by its name: "512 squashed" (or another side), "original" or "original padded".

    "N squashed": truth goes to N x N by the nearest pixel, logits bilinearly. "original": the part
    of the method's square that shows the picture is enlarged to the picture. "original padded", as
    PFENet's line has it: the whole square is enlarged, to one as wide as the picture's longer side,
    of which the padding does not count. A square without padding is the picture, and so the last
    two are the same where a method squashes.

    Raises:
        UsageError: there is no such size.
    """

    def __init__(self, name: str) -> None:
        squashed = _SQUASHED.fullmatch(name)
        if not squashed and name not in (ORIGINAL, PADDED):
            raise UsageError(f"no such size to compare masks at: {name!r}")
        self.name = name
        self.side = int(squashed[1]) if squashed else None

    def compared(self, geometry: Geometry, logits: Tensor, truth: Tensor) -> Compared:
        """Bring what was found and what is true to this size.

        Args:
            geometry: how the picture came to the method's square.
            logits: S x S, above 0 where the object was found.
            truth: H x W uint8 on any device: 1, 0, or 255 for ignored.
        """
        size = tuple(truth.shape)
        if self.side:
            square, values = Geometry(self.side), truth.cpu().numpy()
            mask, ignored = (square.mask(values == v).bool() for v in (1, IGNORED))
            shown = _enlarged(geometry.crop(logits, size), (self.side, self.side))
        else:
            mask, ignored = truth == 1, truth == IGNORED
            if self.name == PADDED and geometry.padded:
                longer = max(size)
                shown = _enlarged(logits, (longer, longer))[:, : size[0], : size[1]]
            else:
                shown = _enlarged(geometry.crop(logits, size), size)
        here = logits.device
        return Compared(shown > 0, mask.to(here)[None], ignored.to(here)[None])


def _enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits, h x w, as 1 x H x W."""
    if logits.shape == torch.Size(size):
        return logits[None]
    return F.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0]
