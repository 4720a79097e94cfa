"""The directions in which features say where a cell is rather than what it shows.

What the encoder makes of a black picture differs from cell to cell by position alone. Its first
principal directions are projected out of features before pictures are compared with each other.
Source: INSID3, section 3.2.
Shapes: N cells of a picture, C channels, S side of pictures, s components.
"""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.checkpoint import write_tensors
from common.errors import UsageError
from model.insid3.config import refuse_components

NOISE = 1e-6
"""Singular values below this share of the largest are rounding noise."""


class PositionalBasis(NamedTuple):
    """The subspace of positions."""

    directions: Tensor
    """Orthonormal columns, C x s, float32."""
    singular_values: Tensor
    """Of all components, in descending order, float64."""


def positional_basis(black: Tensor, components: int) -> PositionalBasis:
    """The principal directions of a black picture's features.

    Args:
        black: features of the cells of a black picture, N x C.
        components: s.

    Raises:
        UsageError: see `refuse_components`.
    """
    refuse_components(components, black.shape[1], black.shape[0])
    # in double precision, since far components are small differences; and on the CPU: MPS has none
    cells = F.normalize(black.cpu().double(), dim=1)
    cells = cells - cells.mean(dim=0)
    values, vectors = torch.linalg.eigh(cells.T @ cells)  # ascending
    singular = values.flip(0).clamp_min(0).sqrt()
    if singular[components - 1] < NOISE * singular[0]:
        warnings.warn(
            f"of {components} positional components the last are rounding noise "
            f"({singular[components - 1] / singular[0]:.1e} of the first): take fewer",
            stacklevel=2,
        )
    return PositionalBasis(vectors.flip(1)[:, :components].float().contiguous(), singular)


def debias(features: Tensor, directions: Tensor) -> Tensor:
    """Project positions out of unit features, ... x N x C, and bring them to unit length."""
    return F.normalize(features - (features @ directions) @ directions.T, dim=-1)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's weights and their names."""
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def basis_file(
    folder: Path, encoder: nn.Module, side: int, components: int, factors: Sequence[float]
) -> Path:
    """Where the basis of an encoder and a side is kept.

    Args:
        factors: of the coordinates (see `DinoV3.forward`).
    """
    told = hashlib.sha256(repr([fingerprint(encoder), *map(float, factors)]).encode()).hexdigest()
    return folder / f"{told[:24]}-{side}-{components}.safetensors"


def read_basis(path: Path, channels: int, components: int) -> PositionalBasis | None:
    """A basis that was kept; None: there is none, or no whole one."""
    try:
        found = load_file(path)
        basis = PositionalBasis(found["directions"], found["singular_values"])
    except (OSError, SafetensorError, KeyError):
        return None
    return basis if basis.directions.shape == (channels, components) else None


def keep_basis(path: Path, basis: PositionalBasis) -> None:
    """Write a basis for the next time; where that is impossible, say so and go on."""
    try:
        write_tensors(path, basis._asdict(), {})
    except UsageError as error:
        warnings.warn(
            f"the positional basis will be computed again next time: {error}", stacklevel=2
        )
