"""A set of golden values: its files, its case, and how tensors are compared with it by name."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.dc_sam.cyclic_attention import cyclic_consistency
from model.sam.segmenter import SegmenterFeatures
from tests.golden.fill import MASKS, clip, fill, image

REPOSITORY_SET = Path(__file__).parent / "values"
TOLERANCE = 1e-4
"""Of values before the first hard decision, and in practice of those after it."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class GoldenSet:
    """The files of a set: the repository's has all; what another lacks is skipped by name."""

    folder: Path

    def file(self, name: str) -> Path:
        """The path of a file; lists of a model's tensors are the same for every set."""
        path, ours = self.folder / name, REPOSITORY_SET / name
        if not path.is_file() and name.startswith("state_dicts/") and ours.is_file():
            return ours
        if not path.is_file():
            self._lacks(str(path))
        return path

    def json(self, name: str) -> dict:
        return json.loads(self.file(name).read_text())

    def tensors(self, name: str, group: str = "") -> Weights:
        """The tensors of a safetensors file whose names begin with a group, without that."""
        path = self.file(f"{name}.safetensors")
        found = part(load_file(path), group)
        if not found:
            self._lacks(f"{group}* in {path}")
        return found

    def _lacks(self, what: str) -> None:
        outcome = pytest.fail if self.folder == REPOSITORY_SET else pytest.skip
        outcome(f"this golden set lacks {what}")


@dataclass(frozen=True)
class Case:
    """The weights and inputs of a set, drawn anew by the fill rule."""

    golden: GoldenSet
    prefix: str
    """Stands before the name of every weight and input."""
    support_masks: Tensor
    """B x H x W."""
    query_masks: Tensor
    """B x H x W: what stands for the pseudo mask where no decoder is involved."""
    clip_frames: int

    @classmethod
    def of(cls, golden: GoldenSet) -> "Case":
        facts = golden.json("case.json")
        support_masks, query_masks = (
            torch.stack([MASKS[kind](*numbers) for kind, *numbers in facts[name]])
            for name in ("support_masks", "query_masks")
        )
        return cls(golden, facts["prefix"], support_masks, query_masks, facts["clip_frames"])

    @property
    def samples(self) -> list[int]:
        return list(range(len(self.support_masks)))

    def input(self, name: str, *shape: int) -> Tensor:
        return fill(f"{self.prefix}input/{name}", shape)

    def image(self, name: str) -> Tensor:
        """Normalised images, B x 3 x H x W."""
        return image(f"{self.prefix}input/{name}", *self.support_masks.shape)

    def features(self, name: str, version: int) -> SegmenterFeatures:
        """What stands for images that SAM (version 1) or SAM 2 has encoded."""
        batch = len(self.support_masks)
        levels = ()
        if version == 2:
            fine = self.input(f"{name}_hr0", batch, 32, 256, 256)
            levels = (fine, self.input(f"{name}_hr1", batch, 64, 128, 128))
        return SegmenterFeatures(self.input(f"{name}_sam", batch, 256, 64, 64), levels)

    def clip(self) -> Tensor:
        """Frames, T x 3 x H x W."""
        return clip(f"{self.prefix}input/clip", self.clip_frames)[0]

    def names(self, model: str) -> dict[str, tuple[list[int], str]]:
        """Tensor names of a model of the release, with shapes and types."""
        return self.golden.json(f"state_dicts/{model}.json")

    def weights(self, model: str) -> Weights:
        """The filled state dict of a model of the release, under the names of its file.

        Parts of the video model are filled as the image model and SAM 2 are.
        """
        return {
            name: fill(
                self.prefix + re.sub(r"^module\.(prompt_encoder\.|sam2\.)?", "", name),
                shape,
                kind.startswith("int"),
            )
            for name, (shape, kind) in self.names(model).items()
        }


def released_pairing(affinity: Tensor, mask: Tensor) -> Tensor:
    """`cyclic_consistency` as the release computes it, which differs in batches.

    Row r = sample * heads + head sees the mask of sample r % B.
    """
    batch, heads = affinity.shape[:2]
    rows = torch.arange(batch * heads) % batch
    consistent = cyclic_consistency(affinity.flatten(0, 1).unsqueeze(1), mask[rows])
    return consistent.view(batch, heads, -1)


def part(weights: Weights, name: str) -> Weights:
    """The tensors whose names begin so, under the rest of their names."""
    return {n.removeprefix(name): value for n, value in weights.items() if n.startswith(name)}


def split(weights: Weights, pattern: str) -> tuple[Weights, Weights]:
    """The tensors whose names begin with a pattern, and all others."""
    chosen = {name: value for name, value in weights.items() if re.match(pattern, name)}
    return chosen, {name: value for name, value in weights.items() if name not in chosen}


def summary(logits: Tensor) -> Tensor:
    """What the files hold of full logits, N x H x W: mean, std, min, max, share above 0; N x 5."""
    flat = logits.flatten(1)
    share = (flat > 0).float().mean(1)
    return torch.stack([flat.mean(1), flat.std(1), flat.amin(1), flat.amax(1), share], dim=1)


def differences(found: Weights, expected: Weights) -> Weights:
    """Absolute differences by name; both sides must have the same names and shapes."""
    missing, unknown = sorted(expected.keys() - found), sorted(found.keys() - expected)
    assert not missing, f"not computed: {missing}"
    assert not unknown, f"the golden file lacks {unknown}"
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
    return {name: (found[name].float() - value.float()).abs() for name, value in expected.items()}


def assert_close(
    found: Weights, expected: Weights, tolerances: Mapping[str, float] | None = None
) -> None:
    """Every expected tensor was found, is all there is, and nowhere differs too much.

    Args:
        tolerances: by patterns of names' beginnings, the first hit counts; default: 1e-4 for all.
    """
    tolerances = tolerances or {"": TOLERANCE}
    too_far = []
    for name, difference in differences(found, expected).items():
        tolerance = next(value for key, value in tolerances.items() if re.match(key, name))
        worst = difference.max().item()
        if not worst <= tolerance:
            too_far.append(f"{name} differs by {worst:.2e}, more than {tolerance:.0e}")
    assert not too_far, "; ".join(too_far)


FLIPPED_SHARE = 1e-3
"""Of the cells of a mask, near-ties which may fall to the other side."""


def assert_agrees(found: Weights, expected: Weights, decided: dict[str, float]) -> None:
    """As `assert_close`, with allowance for near-ties of hard decisions, which the files hold.

    Args:
        decided: tolerances of what follows from the decisions, used where one of them flipped.
    """
    masks, values = split(expected, "keep_|pre_mask")
    found_masks, found_values = split(found, "keep_|pre_mask")
    flips = {name: value.mean().item() for name, value in differences(found_masks, masks).items()}
    assert max(flips.values()) <= FLIPPED_SHARE, flips
    assert_close(found_values, values, {**decided, "": TOLERANCE} if any(flips.values()) else None)
