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
    if not mask.any():
        raise ValueError("empty support mask: the reference shows no object")
    whole = mask[None, None].float()
    smooth = F.interpolate(whole, size=grid, mode="bilinear", align_corners=False) > 0.5
    if smooth.any():
        return smooth[0, 0]
    nearest = F.interpolate(whole, size=grid, mode="nearest") > 0.5
    if nearest.any():
        return nearest[0, 0]
    pixels_of_a_cell = mask.shape[1] // grid[1]  # the published program divides both axes by it
    row, column = (mask.nonzero().float().mean(dim=0) / pixels_of_a_cell).long().tolist()
    alone = torch.zeros(grid, dtype=torch.bool, device=mask.device)
    alone[min(row, grid[0] - 1), min(column, grid[1] - 1)] = True
    return alone
