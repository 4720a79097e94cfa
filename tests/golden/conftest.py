import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.dc_sam.cyclic_attention import cyclic_consistency
from tests.golden.golden_set import REPOSITORY_SET, Case, GoldenSet


@pytest.fixture(scope="session")
def golden() -> GoldenSet:
    """The repository's expected values, or those in the folder which DCSAM_GOLDEN names."""
    folder = Path(os.environ.get("DCSAM_GOLDEN") or REPOSITORY_SET)
    if not folder.is_dir():
        pytest.fail(f"DCSAM_GOLDEN: {folder} is not a folder")
    return GoldenSet(folder)


@pytest.fixture(scope="session")
def case(golden: GoldenSet) -> Case:
    return Case.of(golden)


@pytest.fixture(scope="session")
def released_pairing() -> Callable[[Tensor, Tensor], Tensor]:
    """`cyclic_consistency` as the release computes it, which differs in batches.

    Row r = sample * heads + head sees the mask of sample r % B.
    """

    def consistency(affinity: Tensor, mask: Tensor) -> Tensor:
        batch, heads = affinity.shape[:2]
        rows = torch.arange(batch * heads) % batch
        consistent = cyclic_consistency(affinity.flatten(0, 1).unsqueeze(1), mask[rows])
        return consistent.view(batch, heads, -1)

    return consistency
