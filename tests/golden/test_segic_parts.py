"""Parts of SegIC by themselves, as its published program computes them."""

import pytest
import torch

from tests.golden.fill import image
from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import assert_changes_are_seen, method_set
from tests.golden.segic_case import SegicCase

GRIDS = (16, 37, 64)


@pytest.fixture(scope="module")
def case() -> SegicCase:
    return SegicCase(method_set("segic"))


@pytest.fixture(scope="module")
def expected(case: SegicCase) -> Weights:
    return case.golden.tensors("segic_parts")


@torch.no_grad()
def test_positions_by_the_hubs_rule(case: SegicCase, expected: Weights):
    network = case.dino("b", 0)
    first = network.transformer.pos_embed[:, :1]
    for grid in GRIDS:
        patches = network.patch_positions((grid, grid)).flatten(2).transpose(1, 2)
        found = torch.cat([first, patches], dim=1)[:, ::7, ::16]
        name = f"backbone/position_{grid}_sliced"
        assert_close({name: found}, {name: expected[name]})


@torch.no_grad()
def test_a_block_of_the_giant(case: SegicCase, expected: Weights):
    network = case.dino("g", 1, "giant/")
    images = image(f"{case.prefix}input/giant", 1, 112, 112)
    tokens = network.high(network.middle(images)[1]).flatten(2).transpose(1, 2)
    name = "backbone/giant_tokens_sliced"
    assert_close({name: tokens[..., ::8]}, {name: expected[name]})


def test_a_changed_value_is_seen(expected: Weights):
    assert_changes_are_seen(expected)
