import os
from pathlib import Path

import pytest

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
