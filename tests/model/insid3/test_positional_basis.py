"""The positional basis: what it removes, what it refuses, and how it is kept."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from common.errors import UsageError
from model.insid3.positional_basis import (
    basis_file,
    debias,
    fingerprint,
    keep_basis,
    positional_basis,
    read_basis,
)


def positions(cells: int, channels: int, dimensions: int) -> torch.Tensor:
    """Features that differ from cell to cell in some dimensions only; the last one is common."""
    generator = torch.Generator().manual_seed(0)
    features = torch.zeros(cells, channels)
    features[:, :dimensions] = torch.randn(cells, dimensions, generator=generator)
    features[:, -1] = 3
    return features


def test_the_directions_are_those_in_which_cells_differ():
    basis = positional_basis(positions(40, 10, 3), 3)
    projector = basis.directions @ basis.directions.T
    varied = torch.cat([torch.eye(10)[:3], torch.zeros(7, 10)])
    # unit length makes the common dimension vary a little too
    torch.testing.assert_close(projector, varied, atol=0.2, rtol=0)
    torch.testing.assert_close(basis.directions.T @ basis.directions, torch.eye(3))
    assert (basis.singular_values.diff() <= 0).all()


def test_debiased_features_say_nothing_along_the_directions():
    generator = torch.Generator().manual_seed(1)
    basis = positional_basis(torch.randn(40, 10, generator=generator), 4)
    features = F.normalize(torch.randn(2, 40, 10, generator=generator), dim=-1)
    left = debias(features, basis.directions)
    torch.testing.assert_close(left @ basis.directions, torch.zeros(2, 40, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(left.norm(dim=-1), torch.ones(2, 40))


@pytest.mark.parametrize(("cells", "channels"), [(40, 10), (11, 40)])
def test_more_components_than_are_of_use_are_refused(cells, channels):
    features = torch.randn(cells, channels, generator=torch.Generator().manual_seed(0))
    positional_basis(features, 9)
    for components in (0, 10):
        with pytest.raises(UsageError, match="between 1 and 9 of use"):
            positional_basis(features, components)


def test_components_that_are_rounding_noise_are_told():
    with pytest.warns(UserWarning, match="rounding noise"):
        positional_basis(positions(40, 10, 3), 6)


def test_a_basis_is_kept_for_its_weights_and_settings(tmp_path):
    encoder = nn.Linear(3, 4)
    basis = positional_basis(positions(40, 10, 3), 3)
    path = basis_file(tmp_path / "new", encoder, 64, 3, ())
    assert read_basis(path, 10, 3) is None
    keep_basis(path, basis)
    assert torch.equal(read_basis(path, 10, 3).directions, basis.directions)
    assert read_basis(path, 10, 4) is None
    others = [
        basis_file(tmp_path / "new", encoder, 128, 3, ()),
        basis_file(tmp_path / "new", encoder, 64, 4, ()),
        basis_file(tmp_path / "new", encoder, 64, 3, (1.5,)),
    ]
    before = fingerprint(encoder)
    nn.init.zeros_(encoder.bias)
    others.append(basis_file(tmp_path / "new", encoder, 64, 3, ()))
    assert before != fingerprint(encoder)
    assert len({path, *others}) == 5


def test_a_broken_file_counts_as_none_and_an_impossible_one_is_told(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"half a file")
    assert read_basis(tmp_path / "broken.safetensors", 10, 3) is None
    basis = positional_basis(positions(40, 10, 3), 3)
    with pytest.warns(UserWarning, match="computed again next time"):
        keep_basis(tmp_path / "broken.safetensors" / "below.safetensors", basis)
