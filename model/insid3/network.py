"""INSID3 behind the interface of methods: one frozen network, no training, no SAM.

    images -> cells' features -> references: debiased features and masks on cells
                              -> query: candidates, clusters, seed, mask (`segmentation`)

Shapes: B batch, K shots, S side of pictures, h x w cells, N = h*w, C channels, s components.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.insid3.config import refuse_components
from model.insid3.crf import DenseCrf
from model.insid3.encoder import BackboneCells, CellEncoder, CellFeatures, unit_cells
from model.insid3.positional_basis import (
    basis_file,
    debias,
    keep_basis,
    positional_basis,
    read_basis,
)
from model.insid3.reference_mask import cell_mask
from model.insid3.segmentation import FoundCells, Thresholds, enlarge, find_object
from model.method import Method
from model.method_data import Prediction
from model.presence import PresenceScale

SIGNALS = ("best_score", "seed_similarity", "peak")
"""The highest score of a cluster, the seed's similarity with the references, any cell's."""
PRESENCE = PresenceScale(weights=(20.0, 0.0, 0.0), bias=-4.0)
"""One half where the best score is the paper's threshold, 0.2, from which on there is a mask."""
LEAST_LOGIT = 1e-3
"""Where the mask is empty, all logits are its negative."""


@dataclass(frozen=True)
class CellSupport:
    """All that references of B concepts say; it serves any number of queries."""

    references: Tensor
    """Debiased features, B x K x N x C."""
    masks: Tensor
    """Cells that show the object, B x K x N bool."""

    def expand(self, batch: int) -> Self:
        """A concept of one support (B = 1) for each of so many queries, without copies."""
        if len(self.masks) == batch:
            return self
        return CellSupport(
            self.references.expand(batch, -1, -1, -1), self.masks.expand(batch, -1, -1)
        )


class Insid3(Method):
    """In-context segmentation by the features of one network."""

    name = "insid3"
    frozen_parts = ("encoder",)

    def __init__(
        self,
        encoder: CellEncoder,
        image_size: int,
        components: int,
        thresholds: Thresholds,
        crf: DenseCrf | None = None,
        coordinate_factors: Sequence[float] = (),
        basis_folder: Path | None = None,
    ) -> None:
        """Put a network to use.

        Args:
            image_size: S, a multiple of the network's stride.
            components: s, the dimensions of position that are projected out.
            crf: what refines edges; None: they are those of cells.
            coordinate_factors: with which the basis is computed (see `DinoV3.forward`); none: as
                pictures are encoded.
            basis_folder: where bases are kept from run to run; None: nowhere.

        Raises:
            UsageError: see `refuse_components`.
        """
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.image_size, self.components, self.thresholds = image_size, components, thresholds
        self.crf, self.coordinate_factors = crf, tuple(coordinate_factors)
        self.basis_folder = basis_folder
        self.grid = (image_size // encoder.stride,) * 2
        refuse_components(components, encoder.channels, self.grid[0] * self.grid[1])
        self.register_buffer("directions", None, persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: there is nothing to train."""
        return super().train(False)

    @property
    def knows_drawings_only(self) -> bool:
        return isinstance(self.encoder, BackboneCells)

    @property
    def compares_places(self) -> bool:
        return True

    @torch.no_grad()
    def place_features(self, images: Tensor) -> Tensor:
        """Features without positions, as INSID3's correspondence program compares them."""
        return self.debias(unit_cells(self.encoder(images))).mT.unflatten(2, self.grid)

    @torch.no_grad()
    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> CellFeatures:
        pictures = images if self.crf and not support_only else None
        return CellFeatures(unit_cells(self.encoder(images)), self.grid, pictures)

    @torch.no_grad()
    def encode_support(
        self,
        images: CellFeatures,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> CellSupport:
        with torch.autocast(masks.device.type, enabled=False):
            references = self.debias(images.cells).unflatten(0, masks.shape[:2])
        small = torch.stack([cell_mask(mask, images.grid) for mask in masks.flatten(0, 1)])
        return CellSupport(references, small.flatten(1).unflatten(0, masks.shape[:2]))

    @torch.no_grad()
    def predict(self, images: CellFeatures, support: CellSupport) -> Prediction:
        with torch.autocast(images.cells.device.type, enabled=False):
            found = self.find(images, support)
            cells = torch.stack([one.mask for one in found]).unflatten(1, images.grid)
            masks = enlarge(cells, self.image_size)
            if self.crf:
                masks = self.crf.refine(masks, images.pictures)
            signals = torch.stack([_signals(one) for one in found])
            quality = torch.stack([_mean_score(one) for one in found])
            # one magnitude in the whole picture: enlarged to any size, the border stays where the
            # mask's own would be; of several classes the surer one has a pixel
            sureness = quality.clamp_min(LEAST_LOGIT)[:, None, None]
            logits = torch.where(masks, sureness, -sureness)
            presence = (self.presence_scale or PRESENCE)(signals)
        return Prediction(logits, quality.clamp(0, 1), presence, signals)

    def find(self, images: CellFeatures, support: CellSupport) -> list[FoundCells]:
        """What the procedure finds in each of B queries, on cells."""
        debiased = self.debias(images.cells)
        parts = zip(images.cells, debiased, support.references, support.masks, strict=True)
        return [find_object(*part, self.thresholds) for part in parts]

    def debias(self, cells: Tensor) -> Tensor:
        """Features without positions, of unit length; ... x N x C to the same."""
        return debias(cells, self.basis())

    def basis(self) -> Tensor:
        """The directions of positions, C x s, computed when they are first needed."""
        if self.directions is None:
            device = next(self.encoder.parameters()).device
            self.directions = self._find_directions().to(device)
        return self.directions

    @torch.no_grad()
    def _find_directions(self) -> Tensor:
        """From a file where another run has left them, or from a black picture."""
        factors, path = self.coordinate_factors, None
        if self.basis_folder is not None:
            path = basis_file(
                self.basis_folder, self.encoder, self.image_size, self.components, factors
            )
            if kept := read_basis(path, self.encoder.channels, self.components):
                return kept.directions
        weight = next(self.encoder.parameters())
        black = -weight.new_tensor(IMAGE_MEAN) / weight.new_tensor(IMAGE_STD)
        picture = black.view(1, 3, 1, 1).expand(1, 3, self.image_size, self.image_size)
        with torch.autocast(weight.device.type, enabled=False):
            features = self.encoder(picture, factors)
        basis = positional_basis(unit_cells(features)[0], self.components)
        if path is not None:
            keep_basis(path, basis)
        return basis.directions


def _signals(found: FoundCells) -> Tensor:
    """What presence is made of, as named in SIGNALS."""
    return torch.stack([found.best_score, found.seed_similarity, found.similarity.max()])


def _mean_score(found: FoundCells) -> Tensor:
    """Mean of the clusters' scores over the mask's cells; 0 for an empty mask."""
    if not found.mask.any():
        return found.similarity.new_zeros(())
    return found.scores.combined[found.labels[found.mask]].mean()
