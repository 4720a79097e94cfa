import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of expected values: DCSAM_GOLDEN, or shared/golden beside the checkout."""
    folder = Path(os.environ.get("DCSAM_GOLDEN") or REPOSITORY.parent / "shared" / "golden")
    if not folder.is_dir():
        pytest.skip(f"no golden values: {folder} is not a folder (set DCSAM_GOLDEN)")
    return folder


@pytest.fixture(scope="session")
def golden_file(golden: Path) -> Callable[[str], Path]:
    """A function from a file's name to its path; the test is skipped where this set lacks it."""

    def find(name: str) -> Path:
        path = golden / name
        if not path.is_file():
            pytest.skip(f"no golden values: {path} is absent from this set")
        return path

    return find
