"""The golden values of the methods beside DC-SAM: a folder each, with its own case and prefix."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.golden.golden_set import REPOSITORY_SET, TOLERANCE, GoldenSet, Weights, assert_close


class MethodSet(GoldenSet):
    """What the repository holds of a method's values, or the whole set in another folder."""

    def _lacks(self, what: str) -> None:
        absent_file = not Path(what).is_file() and "* in " not in what
        elsewhere = not self.folder.is_relative_to(REPOSITORY_SET)
        outcome = pytest.skip if absent_file and elsewhere else pytest.fail
        outcome(f"this golden set lacks {what}")


def method_set(name: str) -> MethodSet:
    """The values of a method; METHOD_GOLDEN=DIR takes DIR/NAME/golden, or DIR/NAME, instead."""
    if given := os.environ.get("METHOD_GOLDEN"):
        folder = Path(given) / name
        folder = folder / "golden" if (folder / "golden").is_dir() else folder
    else:
        folder = REPOSITORY_SET / name
    if not folder.is_dir():
        pytest.fail(f"{folder} is not a folder")
    return MethodSet(folder)


def assert_changes_are_seen(
    values: Weights, tolerances: Mapping[str, float] | None = None, factor: float = 10
) -> None:
    """Every float tensor of a file, changed in one value by ten tolerances, is told by name."""
    tolerances = tolerances or {"": TOLERANCE}
    assert_close(values, values, tolerances)
    for name, value in values.items():
        if not value.is_floating_point() or not value.numel():
            continue
        own = next(tolerance for key, tolerance in tolerances.items() if re.match(key, name))
        wrong = value.clone()
        wrong.view(-1)[-1] += factor * own
        with pytest.raises(AssertionError, match="differs by"):
            assert_close({**values, name: wrong}, values, tolerances)
