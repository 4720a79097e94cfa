import importlib.util
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from model.dc_sam.cyclic_attention import cyclic_consistency

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_SET = REPOSITORY.parent / "shared" / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of expected values: DCSAM_GOLDEN, or shared/golden beside the checkout."""
    folder = Path(os.environ.get("DCSAM_GOLDEN") or DEFAULT_SET)
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


@dataclass(frozen=True)
class Case:
    """The weights and inputs of a set of expected values, drawn anew by its fill rule."""

    rule: ModuleType
    """`fill.py`."""
    prefix: str
    """Stands before the name of every weight and input."""
    support_masks: Tensor
    """B x H x W."""
    query_masks: Tensor
    """B x H x W: what stands for the pseudo mask where no decoder is involved."""
    clip_frames: int
    names: Callable[[str], dict[str, tuple[list[int], str]]]
    """Tensor names of a model of the release, with shapes and types."""

    def input(self, name: str, *shape: int) -> Tensor:
        return self.rule.fill(f"{self.prefix}input/{name}", shape)

    def image(self, name: str) -> Tensor:
        """Normalised images, B x 3 x H x W."""
        batch, height, width = self.support_masks.shape
        return self.rule.image(f"{self.prefix}input/{name}", batch, height, width)

    def weights(self, model: str) -> dict[str, Tensor]:
        """The filled state dict of a model of the release, under the names of its file.

        Parts of the video model are filled as the image model and SAM 2 are.
        """
        return {
            name: self.rule.fill(
                self.prefix + re.sub(r"^module\.(prompt_encoder\.|sam2\.)?", "", name),
                shape,
                kind.startswith("int"),
            )
            for name, (shape, kind) in self.names(model).items()
        }


@pytest.fixture(scope="session")
def case(golden: Path, golden_file: Callable[[str], Path]) -> Case:
    """This set's case; the fill rule and the names are those of the default set if it has none."""

    def find(name: str) -> Path:
        shared = DEFAULT_SET / name
        return shared if shared.is_file() and not (golden / name).is_file() else golden_file(name)

    facts = json.loads(golden_file("case.json").read_text())
    specification = importlib.util.spec_from_file_location("golden_fill", find("fill.py"))
    rule = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(rule)

    def masks(shapes: list[list]) -> Tensor:
        return torch.stack([getattr(rule, kind)(*numbers) for kind, *numbers in shapes])

    return Case(
        rule=rule,
        prefix=facts["prefix"],
        support_masks=masks(facts["support_masks"]),
        query_masks=masks(facts["query_masks"]),
        clip_frames=facts["clip_frames"],
        names=lambda model: json.loads(find(f"state_dicts/{model}.json").read_text()),
    )


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
