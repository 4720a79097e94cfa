"""Pictures for tests of Matcher with the tiny networks."""

import numpy as np
import torch
from torch import Tensor

from common.pixels import normalize

SIDE = 128


def scene(left: int, top: int, colour: int = 0) -> tuple[Tensor, Tensor]:
    """A square of 48 pixels on grey: 1 x 3 x S x S, and its mask 1 x 1 x S x S."""
    noise = np.random.default_rng(0).integers(90, 110, (SIDE, SIDE, 3), dtype=np.uint8)
    noise[top : top + 48, left : left + 48] = np.roll([220, 40, 60], colour)
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., top : top + 48, left : left + 48] = 1
    return normalize(noise)[None], mask
