"""What tests of models share."""

from collections.abc import Callable

import pytest
import torch

from model.sam.sam2 import Sam2


@pytest.fixture
def sam2_without_weights(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Sam2]:
    """Build a variant of any size in no time, of tensors that hold no numbers."""
    # the package reads its drop rates off a tensor, which has to hold numbers
    linspace = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *ends: linspace(*ends, device="cpu"))

    def build(name: str) -> Sam2:
        with torch.device("meta"):
            return Sam2(name)

    return build
