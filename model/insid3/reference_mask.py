"""A reference's mask on the cells of its features.

Shapes: H and W of a mask, h and w cells.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def cell_mask(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """The cells that a mask marks, in three stages of which each serves where the one before fails.

    Cells at whose centre most is inside; cells whose first pixel is inside; the one cell of the
    mask's centre. Thin things vanish in the first and often in the second.

    Args:
        mask: 0 or 1, H x W.
        grid: h and w.

    Returns:
        h x w, bool; at least one cell.

    Raises:
        ValueError: the mask is empty.
    """
    if not torch.compiler.is_exporting() and not mask.any():  # a graph cannot refuse
        raise ValueError("empty support mask: the reference shows no object")
    whole = mask[None, None].float()
    smooth = F.interpolate(whole, size=grid, mode="bilinear", align_corners=False)[0, 0] > 0.5
    nearest = F.interpolate(whole, size=grid, mode="nearest")[0, 0] > 0.5
    alone = _centre_cell(whole[0, 0], grid)
    return smooth | (~smooth.any() & (nearest | (~nearest.any() & alone)))


def _centre_cell(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """The one cell of the centre of a mask, H x W; h x w bool."""
    pixels_of_a_cell = mask.shape[1] // grid[1]  # the published program divides both axes by it
    is_there = []
    for axis, cells in enumerate(grid):
        profile = mask.sum(dim=1 - axis)
        places = torch.arange(len(profile), device=mask.device, dtype=mask.dtype)
        centre = (profile * places).sum() / profile.sum() / pixels_of_a_cell
        own = torch.arange(cells, device=mask.device)
        is_there.append(own == centre.long().clamp(max=cells - 1))
    return is_there[0][:, None] & is_there[1]
