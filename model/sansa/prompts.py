"""What marks the object in a reference, as SAM 2's prompt encoder takes it.

Shapes: S side of the marks, N points of a reference.
"""

import torch
from torch import Tensor

from model.sam.segmenter import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_POSITIVE

NO_POINT = -1
"""Label of the token that SAM 2 expects after points, and twice where nobody prompts."""


def prompt_points(mark: Tensor, kind: str, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Points, N x 2 of (x, y) in pixels of the mark, and their labels, N.

    Every marked pixel is a point, row by row; a box is two corners, the lower right one outside.

    Args:
        mark: 1 at the points, along the scribble or in the box, else 0; S x S and not empty.
        kind: "point", "scribble" or "box".
        most: of more points take so many, evenly spread along the rows; None: all.
    """
    rows, columns = mark.nonzero(as_tuple=True)
    places = torch.stack([columns, rows], dim=1)
    if kind == "box":
        corners = torch.stack([places.amin(0), places.amax(0) + 1])
        return corners, torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], device=mark.device)
    if most is not None and len(places) > most:
        chosen = torch.arange(most, device=mark.device) * len(places) // most
        places = places[chosen]
    return places, torch.full((len(places),), POINT_POSITIVE, device=mark.device)


def alike(lengths: list[int]) -> dict[int, list[int]]:
    """Which references can be decoded together: rows by how many points they have."""
    rows: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        rows.setdefault(length, []).append(row)
    return rows
