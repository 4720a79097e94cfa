"""Matcher's matches, subsets and shares for references of all sizes; names of official files.

The file does not say how the features of these cases were made, so that their similarities and
what is computed from them alone (the earth mover's score) have nothing to be compared with;
`test_matcher.py` compares both from pictures on.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import UsageError
from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.backbones.dino import Dino, vit_14
from model.backbones.sizes import SIZES
from model.matcher.builder import build_matcher
from model.matcher.config import MatcherOptions
from model.matcher.features import MatcherFeatures
from model.matcher.matching import better_pairs, patch_centres
from model.matcher.network import Matcher
from model.matcher.pictures import grey_levels
from model.matcher.prompts import bounding_box, colexicographic
from model.matcher.selection import mask_patches, purity_and_coverage
from model.matcher.settings import SETTINGS
from model.official import OFFICIAL
from tests.golden.fill import fill
from tests.golden.golden_set import Weights, assert_close
from tests.golden.matcher_case import SIDE, MatcherCase, bits, drawn_masks
from tests.golden.method_set import assert_changes_are_seen, method_set

GRID = 37
CASES = ("large", "small", "one_patch", "empty", "three_shots")
WORDS = {"s": "small", "b": "base", "l": "large", "g": "giant2"}
"""Of sizes, in the names of the set."""


@pytest.fixture(scope="module")
def case() -> MatcherCase:
    return MatcherCase(method_set("matcher"))


def held(case: MatcherCase, name: str) -> Weights:
    """Of a case what does not come from its features alone."""
    values = case.golden.tensors("matcher_matching", f"{name}/")
    values["purity_coverage"] = values.pop("purity_coverage_emd")[:, :2]
    return {n: v for n, v in values.items() if not n.startswith("similarity")}


@pytest.mark.parametrize("name", CASES)
def test_matches_and_shares(case: MatcherCase, name: str):
    expected = held(case, name)
    # each shot has one shape or none
    shots = [(shapes or [["empty"]])[0] for shapes in case.facts["matching"][name]["masks"]]
    masks = drawn_masks(shots)
    foreground = foreground_of(case.matcher, masks)
    inside = foreground.nonzero().flatten().numpy()
    columns, back = expected["forward_columns"].numpy(), expected["reverse_columns"].numpy()
    retained = np.isin(back, inside)
    points = patch_centres(columns, GRID, SIDE)
    # the better half are those that the file has; which and how many come from the rule
    better = np.array([tuple(p) in set(map(tuple, expected["points"].tolist())) for p in points])
    kept = better_pairs(better.astype(float), retained)
    points = patch_centres(np.unique(columns[kept]), GRID, SIDE)
    proposals = drawn_masks(case.facts["scores"]) > 0
    shares = purity_and_coverage(proposals, mask_patches(proposals, GRID), points)
    found = {
        "reference_patches_bits": bits(foreground.numpy()),
        "reference_patches_shape": torch.tensor([len(foreground)]),
        "forward_rows": torch.arange(len(inside)),
        "forward_columns": expected["forward_columns"],
        "reverse_rows": torch.arange(len(columns)),
        "reverse_columns": expected["reverse_columns"],
        "retained": torch.from_numpy(retained),
        "points": torch.from_numpy(points),
        "box": torch.from_numpy(bounding_box(points, SIDE)),
        "purity_coverage": torch.from_numpy(np.stack(shares, axis=1)).float(),
    }
    in_order = expected | {"points": sorted_rows(expected["points"])}
    found["points"] = sorted_rows(found["points"])
    assert_close(found, in_order, {"purity": 1e-4, "": 0})
    counts = case.golden.json("matcher_matching.json")[f"{name}/counts"]
    assert [len(inside), int(retained.sum()), len(kept), len(points)] == [
        counts[kind] for kind in ("foreground", "retained", "kept", "points")
    ]


def foreground_of(matcher: Matcher, masks: torch.Tensor) -> torch.Tensor:
    """K*T bool, with the program's middle in the place of an empty reference's object."""
    count = len(masks)
    matcher.setting = replace(SETTINGS["objects"], centre_for_empty=True)
    images = MatcherFeatures(torch.zeros(count, GRID**2, 1), None, torch.zeros(count))
    return matcher.encode_support(images, masks[None]).foreground[0]


def sorted_rows(points: torch.Tensor) -> torch.Tensor:
    """In our order: by rows of the picture, then by columns."""
    return torch.tensor(sorted(points.tolist(), key=lambda point: point[::-1]))


@pytest.mark.parametrize("name", CASES)
def test_a_changed_value_is_seen(case: MatcherCase, name: str):
    assert_changes_are_seen(held(case, name), {"purity": 1e-4, "": 0})


def test_all_subsets(case: MatcherCase):
    expected = case.golden.tensors("matcher_matching", "combinations/")
    for name, subsets in expected.items():
        points, size = map(int, name.split("_"))
        assert colexicographic(points, size).tolist() == subsets.tolist(), name


def test_grey_levels(case: MatcherCase):
    expected = case.golden.tensors("matcher_matching", "to_bytes/")
    levels = torch.arange(256) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    images = (levels.view(1, 16, 16) - mean) / std
    for channel in grey_levels(images[None])[0].flatten(1):
        assert_close({"x255": channel.byte()}, expected, {"": 0})


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes(case: MatcherCase, size: str):
    listed = case.golden.json("state_dict.json")[f"dinov2_vit_{WORDS[size]}"]
    with torch.device("meta"):
        network = Dino(vit_14(size, SIDE))
        official = {name: torch.empty(shape) for name, (shape, _) in listed.items()}
    renamed = network.rename_official(official)
    assert {n: v.shape for n, v in renamed.items()} == {
        n: v.shape for n, v in network.state_dict().items()
    }


def test_an_official_file_loads(case: MatcherCase, tmp_path, monkeypatch):
    """DINOv2-S as Meta saves it, filled with numbers; SAM's files are every method's."""
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    listed = case.golden.json("state_dict.json")["dinov2_vit_small"]
    state = {name: fill(name, shape) for name, (shape, _) in listed.items()}
    path, options = tmp_path / OFFICIAL["dinov2_s"].file, MatcherOptions(size="s", sam_model="tiny")
    torch.save(state, path)
    matcher = build_matcher(options)
    assert matcher.image_size == SIDE
    found = matcher.backbone.network.transformer.state_dict()
    for name, value in state.items():
        assert name == "mask_token" or torch.equal(found[name], value), name
    torch.save({**state, "norm.weight": torch.zeros(3)}, path)
    with pytest.raises(UsageError, match=r"of another shape: transformer\.norm\.weight"):
        build_matcher(options)
