"""Parts of SegIC by themselves, as its published program computes them."""

import pytest
import torch

from model.segic.geometry import SegicGeometry
from model.segic.text import ClipSentences, Tokenizer, clip_text_tower
from tests.clip_tokens import save_real_tokenizer
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


def test_tokens_of_sentences(case: SegicCase, tmp_path):
    save_real_tokenizer(tmp_path / "tokens.json")
    tokenizer = Tokenizer(tmp_path / "tokens.json")
    for sentence, expected in case.facts["text_tokens"].items():
        found = tokenizer([sentence])[0]
        assert found.shape == (77,)
        assert found[: len(expected)].tolist() == expected
        assert set(found[len(expected) :].tolist()) == {Tokenizer.END}


@torch.no_grad()
def test_vectors_of_sentences(case: SegicCase, expected: Weights, tmp_path):
    """CLIP of two layers, filled."""
    save_real_tokenizer(tmp_path / "tokens.json")
    tower = clip_text_tower(2)
    tower.load_state_dict(
        {
            name: case.fill(f"clip/text_model.{name}", *value.shape)
            for name, value in tower.state_dict().items()
        }
    )
    sentences = ClipSentences(tower, Tokenizer(tmp_path / "tokens.json"))
    found = sentences(list(case.facts["text_tokens"]))
    assert_close({"clip/pooled": found}, {"clip/pooled": expected["clip/pooled"]})


def test_sizes_in_the_square(case: SegicCase):
    geometry = SegicGeometry(896, padded=True)
    numbers = case.golden.json("segic_parts.json")["numbers"]
    listed = next(value for name, value in numbers.items() if name.startswith("sizes/resize_896"))
    for height, width, *content in listed:
        assert geometry.content((height, width)) == tuple(content)
    (short,) = (value for name, value in numbers.items() if "do_not_reach_896" in name)
    sides = {side: max(geometry.content((side, 1))) for side in range(1, 2001)}
    assert {side: long for side, long in sides.items() if long < 896} == dict(short)


def test_a_changed_value_is_seen(expected: Weights):
    assert_changes_are_seen(expected)
