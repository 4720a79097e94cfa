"""Two-dimensional sine position encoding, as in DETR."""

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0


def sine_position(channels: int, side: int, device: torch.device | None = None) -> Tensor:
    """Encode the rows in the first half of the channels and the columns in the second.

    Coordinates 1 to side are normalised to (0, 2 pi].

    Returns:
        side*side x channels.
    """
    half = channels // 2
    coordinate = torch.arange(1, side + 1, device=device, dtype=torch.float32)
    coordinate = coordinate / (side + 1e-6) * 2 * math.pi
    exponent = 2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half
    angle = coordinate[:, None] / TEMPERATURE**exponent  # side half
    wave = torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)
    rows = wave[:, None].expand(side, side, half)
    columns = wave[None].expand(side, side, half)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)
