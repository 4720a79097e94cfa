"""What a marked reference says about a target: where the object may be, and what it looks like.

Source: SegIC (arXiv 2311.14671), section 3.3, by the rules of its released program.
Shapes: B images, N entities, K shots, C channels of the backbone, S side of its map, M side of the
square, D channels of the decoder, V visual tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_FINER = 4
"""The map of correspondence is sampled at M / 4 first, and then at M."""
_SHORTEST = 1e-8
"""Lengths below it count as it. In videos the program has 1e-4, which no feature comes near."""
_CHANNELS = 64
"""Of enlarged features so many are held at a time."""


@dataclass(frozen=True)
class Hints:
    """What the decoder is told about N entities, each in its own picture."""

    maps: Tensor
    """Correspondence of every place with the reference, cosines, N x M x M."""
    points: Tensor
    """Clicks, and then the token that ends them or a box's two corners: N x P x 2 (x, y) in pixels
    of the square."""
    labels: Tensor
    """What each point means, see `model.sam.segmenter`: N x P."""
    meta: Tensor
    """What was said in words, as a token, N x D."""
    prototypes: Tensor
    """Of the entity and of others, N x V x C."""
    own: Tensor | None
    """Which of them are the entity's, N x V bool; None: no token says whose it is."""


def mask_prototypes(features: Tensor, masks: Tensor, keep_small: bool = False) -> Tensor:
    """Mean features inside masks.

    A cell is inside where more than half of what is sampled there is, between four pixels.

    Args:
        features: B x C x S x S.
        masks: in [0, 1], B x N x M x M.
        keep_small: of a mask that lies between what is sampled, take every cell that it touches;
            else its prototype is 0.

    Returns:
        B x N x C.
    """
    cells = mask_cells(masks, features.shape[-1], keep_small)
    with torch.autocast(features.device.type, enabled=False):  # it would round sums of many cells
        total = torch.einsum("bchw,bnhw->bnc", features.float(), cells)
    return total / cells.sum((2, 3)).clamp_min(1).unsqueeze(2)


def mask_cells(masks: Tensor, side: int, keep_small: bool = False) -> Tensor:
    """The cells that masks, B x N x M x M, cover: exactly 0 or 1, B x N x S x S float32."""
    masks = masks.float()
    size = (side, side)
    cells = (F.interpolate(masks, size, mode="bilinear", align_corners=False) > 0.5).float()
    if not keep_small:
        return cells
    lost = ~cells.flatten(2).any(2)[..., None, None]
    touched = (F.adaptive_max_pool2d(masks, size) > 0).float()
    return touched.where(lost, cells)


def reference_direction(
    features: Tensor, masks: Tensor, correspondence: str, keep_small: bool = False
) -> tuple[Tensor, Tensor]:
    """Prototypes of K shots, B x K x C, and what a query's features are compared with, B x C.

    The mean of cosines with several unit vectors is the product with the mean of these, so that one
    vector stands for all of the shots, and for all cells of an object.

    Args:
        features: of the references, B x K x C x S x S.
        masks: of each, B x K x M x M.
        correspondence: one of `CORRESPONDENCES`.
    """
    batch = masks.shape[0]
    cells, inside = features.flatten(0, 1), masks.flatten(0, 1).unsqueeze(1)
    prototypes = mask_prototypes(cells, inside, keep_small).squeeze(1)
    if correspondence == "dense":
        unit = F.normalize(cells, dim=1, eps=_SHORTEST)
        directions = mask_prototypes(unit, inside, keep_small).squeeze(1)
    else:
        directions = unit_vectors(prototypes)
    prototypes, directions = (x.unflatten(0, (batch, -1)) for x in (prototypes, directions))
    return prototypes, directions.mean(1)


def unit_vectors(vectors: Tensor) -> Tensor:
    """Vectors along the last dimension at length 1; 0 stays 0."""
    return F.normalize(vectors, dim=-1, eps=_SHORTEST)


class Correspondence:
    """Cosines of features with directions, sampled finely: of N entities in each of B images.

    Features are enlarged before their length is taken, as in the released program; as enlarging is
    linear, products are taken before it.
    """

    def __init__(self, features: Tensor, directions: Tensor, side: int) -> None:
        """Compare.

        Args:
            features: B x C x S x S.
            directions: B x N x C.
            side: M.
        """
        features, self.side, self.entities = features.float(), side, directions.shape[1]
        with torch.autocast(features.device.type, enabled=False):  # it would round cosines
            products = torch.einsum("bchw,bnc->bnhw", features, directions.float())
        self.products = products.flatten(0, 1)
        """B*N x S x S, image by image."""
        squares = [
            _enlarge(some, side // _FINER).square().sum(1)
            for some in features.split(_CHANNELS, dim=1)
        ]
        self.lengths = torch.stack(squares).sum(0).sqrt().clamp_min(_SHORTEST)
        """Of the enlarged features, B x M/4 x M/4."""

    def maps(self, rows: Tensor) -> Tensor:
        """Cosines at every pixel, n x M x M, for n of the B*N rows."""
        finer = _enlarge(self.products[rows][:, None], self.side // _FINER)
        cosines = finer / self.lengths[rows // self.entities][:, None]
        return _enlarge(cosines, self.side).squeeze(1)


def highest_places(maps: Tensor) -> Tensor:
    """(x, y) of the highest value of each map, N x M x M to N x 2; of a constant one (0, 0)."""
    flat = maps.flatten(1)
    places = flat.argmax(1)
    places = places.where(flat.amax(1) > flat.amin(1), torch.zeros_like(places))
    side = maps.shape[-1]
    return torch.stack([places % side, places // side], dim=1)


def _enlarge(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
