"""Refinement of a mask's edges by the picture's colours: a dense CRF with two labels.

Source: the refinement of INSID3's released program: Krähenbühl and Koltun's fully connected model,
solved by Frank-Wolfe steps of size 1 (Lê-Huu and Alahari, 2021).
Shapes: B batch, S side of pictures.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.insid3.permutohedral import GaussianFilter


@dataclass(frozen=True)
class DenseCrf:
    """The model's numbers; those of the released program."""

    radius: int = 5
    """Pixels on both sides of an edge that may change."""
    inside: float = 0.95
    """Probability of the object in the core; outside it is the rest, between them one half."""
    spatial_deviation: float = 4 / 512
    """Of the filter over places, as a share of S."""
    spatial_weight: float = 3.0
    place_deviation: float = 12 / 512
    """Of the filter over places and colours, as a share of S."""
    colour_deviation: float = 0.03
    """Of colours from 0 to 1."""
    colour_weight: float = 20.0
    steps: int = 10

    def refine(self, masks: Tensor, pictures: Tensor) -> Tensor:
        """Refine B x S x S bool masks by their normalised pictures, B x 3 x S x S."""
        mean, std = (pictures.new_tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
        colours = (pictures.float() * std + mean).clamp(0, 1).cpu().double().numpy()
        refined = [self.refine_one(*one) for one in zip(masks.cpu().numpy(), colours, strict=True)]
        return torch.from_numpy(np.stack(refined)).to(masks.device)

    def refine_one(self, mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """One mask, S x S bool, by a picture of colours from 0 to 1, 3 x S x S."""
        if not mask.any():
            return mask
        core, band = self.regions(mask)
        found = self.probability(self.log_odds(core, band), self.filters(picture)) > 0.5
        return np.where(band, found, mask)

    def regions(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The core, which is farther inside than the radius, and the band around the edge.

        What is outside the picture counts as background.
        """
        grown = distance_transform_edt(~mask) <= self.radius
        core = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > self.radius
        return core, grown & ~core

    def log_odds(self, core: np.ndarray, band: np.ndarray) -> np.ndarray:
        """What each pixel says by itself, S x S."""
        surely = np.log(self.inside / (1 - self.inside))
        return np.where(band, 0.0, np.where(core, surely, -surely))

    def filters(self, picture: np.ndarray) -> tuple[GaussianFilter, GaussianFilter]:
        """The filter over places, and that over places and colours."""
        side = picture.shape[-1]
        places = _places(side)
        near = places / (self.place_deviation * side)
        alike = picture.reshape(3, -1).T / self.colour_deviation
        return (
            _spatial_filter(side, self.spatial_deviation * side),
            GaussianFilter(np.concatenate([near, alike], axis=1)),
        )

    def probability(
        self, log_odds: np.ndarray, filters: tuple[GaussianFilter, GaussianFilter]
    ) -> np.ndarray:
        """The object's probability at each pixel, S x S.

        The two labels' probabilities add up to 1 and filters keep that, so that one is enough; the
        projection onto such pairs is a clip.
        """
        spatial, bilateral = filters
        own = log_odds.reshape(-1)
        object_share = 1 / (1 + np.exp(-2 * own))
        for _ in range(self.steps):
            pull = self.spatial_weight * (2 * spatial(object_share) - 1)
            pull += self.colour_weight * (2 * bilateral(object_share) - 1)
            object_share = np.clip((2 * own + pull + 1) / 2, 0, 1)
        return object_share.reshape(log_odds.shape)


def _places(side: int) -> np.ndarray:
    """Row and column of every pixel, S*S x 2: the order decides where the lattice ripples."""
    rows, columns = np.mgrid[:side, :side].astype(np.float64)
    return np.stack([rows.reshape(-1), columns.reshape(-1)], axis=1)


@lru_cache(maxsize=2)
def _spatial_filter(side: int, deviation: float) -> GaussianFilter:
    """The same for every picture."""
    return GaussianFilter(_places(side) / deviation)
