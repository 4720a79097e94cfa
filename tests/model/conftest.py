"""What tests of models share."""

from collections.abc import Callable

import pytest

from model.sam.sam2 import Sam2
from tests import helpers


@pytest.fixture
def sam2_without_weights() -> Callable[[str], Sam2]:
    """Build a variant of any size in no time, see `tests.helpers`."""
    return helpers.sam2_without_weights
