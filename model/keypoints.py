"""Semantic correspondence: where a target shows the places that are marked in a reference.

Two rules are known: "soft", that of the correspondence program of INSID3's release, and "nearest",
the plain cosine nearest neighbour. PCK is SPair-71k's.
Shapes: P points, h x w cells, N = h*w, C channels, H and W a picture's height and width in pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SIGMA = 7.0
"""Standard deviation, in cells, of the weight around the best cell."""
TEMPERATURE = 0.04


def cells_of_points(points: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Cells of points, P x 2 integers: column and row.

    A point is taken as the first corner of its cell, and half is rounded to even.

    Args:
        points: x and y in pixels, P x 2; what lies outside is moved to the border.
        size: H and W.
        grid: h and w.
    """
    per_pixel = points.new_tensor([grid[1] / size[1], grid[0] / size[0]])
    last = torch.tensor([grid[1] - 1, grid[0] - 1], device=points.device)
    cells = (points * per_pixel).round().long()
    return cells.clamp(torch.zeros_like(last), last)


def similarity_maps(
    reference: Tensor,
    target: Tensor,
    cells: Tensor,
    grid: tuple[int, int],
    target_grid: tuple[int, int] | None = None,
) -> Tensor:
    """Cosine of the reference's features at some cells with every cell of the target, P x h x w.

    Args:
        reference: of unit length, debiased or not, N x C.
        target: the same of the target, N x C.
        cells: column and row, P x 2.
        grid: rows and columns of the reference.
        target_grid: those of the target; None: the same.
    """
    columns, rows = cells.unbind(1)
    return (reference[rows * grid[1] + columns] @ target.T).unflatten(1, target_grid or grid)


def expected_points(similarity: Tensor, size: tuple[int, int]) -> Tensor:
    """Points in the target: a soft arg-max around the most similar cell, x and y, P x 2.

    Args:
        similarity: P x h x w.
        size: H and W of the target.
    """
    height, width = similarity.shape[1:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=similarity.device),
        torch.arange(width, device=similarity.device),
        indexing="ij",
    )
    best = similarity.flatten(1).argmax(dim=1)
    row, column = (best // width)[:, None, None], (best % width)[:, None, None]
    distance = (rows - row) ** 2 + (columns - column) ** 2
    near = (-distance / (2 * SIGMA**2)).exp()
    share = (similarity * near / TEMPERATURE).flatten(1).softmax(dim=1).view_as(similarity)
    x = (share * columns).sum((1, 2)) * (size[1] / width)
    y = (share * rows).sum((1, 2)) * (size[0] / height)
    return torch.stack([x, y], dim=1)


def nearest_points(reference: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """The middles of the most similar cells, in cells of the target: x and y, P x 2.

    Args:
        reference: features, C x h x w; they are read between cells where a point lies there.
        target: the same of the target.
        points: in cells of the reference, whose middles are at 0.5, 1.5, ...: x and y, P x 2.
    """
    grid = 2 * points / points.new_tensor(reference.shape[:0:-1]) - 1
    marked = F.grid_sample(
        reference[None], grid[None, :, None], padding_mode="border", align_corners=False
    )
    queries = F.normalize(marked[0, :, :, 0], dim=0)  # C x P
    keys = F.normalize(target.flatten(1), dim=0)  # C x h*w
    best = (queries.T @ keys).argmax(dim=1)
    width = target.shape[2]
    return torch.stack([best % width, best // width], dim=1) + 0.5


def correct_points(
    found: Tensor, expected: Tensor, box_side: float, shares: tuple[float, ...]
) -> Tensor:
    """The share of points of a picture that are near enough (PCK), one for each tolerance.

    Args:
        found: P x 2.
        expected: P x 2.
        box_side: the longer side of the box of the target's object, in pixels.
        shares: of it, how far off a point may be.
    """
    off = (found - expected).norm(dim=1)
    return torch.stack([(off <= share * box_side).float().mean() for share in shares])
