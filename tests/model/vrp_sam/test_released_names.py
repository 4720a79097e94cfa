"""Checkpoints of VRP-SAM's program: the names of its files, how they are told, and restored."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.checkpoint import read_facts
from common.errors import UsageError
from model.checkpoint import options_of, published_by, read_checkpoint
from model.dc_sam.released_names import released_name
from model.registry import METHODS
from model.vrp_sam.builder import build_vrp_sam, restore_vrp_sam
from model.vrp_sam.config import VrpSamOptions
from model.vrp_sam.released_names import import_release
from tests.golden.method_set import method_set
from tests.helpers import save_tiny_checkpoint
from tools.import_checkpoint import main

COUNTS = {"resnet50": 1_592_064, "resnet101": 1_592_064, "vgg16": 1_395_456}


def published(size: str) -> dict[str, Tensor]:
    """Tensors of the names and shapes of a published file, each of another value, in no memory."""
    keys = method_set("vrp_sam").json("state_dict.json")[size]["keys"]
    return {
        f"module.{name}": torch.tensor(number, dtype=getattr(torch, kind)).expand(shape)
        for number, (name, (shape, kind)) in enumerate(keys.items())
    }


@pytest.mark.parametrize("size", COUNTS)
def test_names_and_shapes_are_those_of_published_files(size: str):
    facts = method_set("vrp_sam").json("state_dict.json")[size]
    state = published(size)

    options, weights = import_release(state, "best_model.pt")

    assert options == VrpSamOptions(backbone=size, wiring="release")
    assert len(weights) == len(state)
    for name, value in weights.items():
        assert value is state[f"module.{released_name(name)}"]
    learned = [value for name, value in weights.items() if name.startswith("generator.")]
    assert sum(value.numel() for value in learned) == facts["counts"]["learned"] == COUNTS[size]


def test_layers_go_where_they_act():
    state = published("vgg16")
    weights = import_release(state, "best_model.pt")[1]
    for ours, theirs in {
        "reduce.0.weight": "downsample_query.0.weight",
        "positive.fuse.weight": "merge_1.0.weight",
        "positive.query.weight": "transformer_decoder.supp_q_feat.weight",
        "positive.support_attention.projection.bias": "transformer_decoder."
        "transformer_cross_attention_layers_0.0.multihead_attn.in_proj_bias",
        "positive.early_self_attention.in_proj_weight": "transformer_decoder."
        "transformer_self_attention_layers_0.0.self_attn.in_proj_weight",
        "positive.early_norm.bias": "transformer_decoder."
        "transformer_self_attention_layers_0.0.norm.bias",
        "positive.query_attention.norm.weight": "transformer_decoder."
        "transformer_cross_attention_layers.0.norm.weight",
        "positive.norm.weight": "transformer_decoder.transformer_self_attention_layers.0.norm."
        "weight",
    }.items():
        assert weights[f"generator.{ours}"] is state[f"module.{theirs}"]


def test_everything_that_does_not_fit_is_named():
    state = published("vgg16")
    del state["module.merge_1.0.weight"]
    state["module.transformer_decoder.q_embed.weight"] = torch.zeros(50, 256)
    with pytest.raises(UsageError) as error:
        import_release(state, "best_model.pt")
    assert "best_model.pt does not fit VRP-SAM with vgg16" in str(error.value)
    assert "missing: merge_1.0.weight; unknown: transformer_decoder.q_embed" in str(error.value)


@pytest.fixture
def model_and_file(tmp_path: Path) -> tuple[dict[str, Tensor], Path]:
    """The smallest published network on the tiny SAM, and its file as the program saves one."""
    torch.manual_seed(0)
    model = build_vrp_sam(VrpSamOptions(backbone="vgg16", sam_model="tiny", random_weights=True))
    own = {n: v for n, v in model.state_dict().items() if not n.startswith("segmenter.")}
    torch.save(
        {f"module.{released_name(n)}": value for n, value in own.items()},
        tmp_path / "best_model.pt",
    )
    return own, tmp_path / "best_model.pt"


def test_a_published_file_is_told_by_its_names_and_restored(model_and_file, tmp_path, monkeypatch):
    own, path = model_and_file
    ours = tmp_path / "ours.safetensors"
    monkeypatch.setattr(sys, "argv", ["import", str(path), "--out", str(ours)])

    assert main() == 0

    assert read_facts(ours)["method"] == "vrp_sam"
    for file in (path, ours):
        facts, weights = read_checkpoint(file)
        options = options_of(facts, file)
        assert options == VrpSamOptions(backbone="vgg16", wiring="release")
        restored = restore_vrp_sam(replace(options, sam_model="tiny"), weights, file).state_dict()
        assert own.keys() <= restored.keys()
        for name, value in own.items():
            assert torch.equal(restored[name], value), name


def test_other_files_are_refused_or_given_to_their_own_method(tmp_path):
    torch.save({"module.transformer_decoder.q_embed.weight": torch.zeros(1)}, tmp_path / "a.pt")
    assert published_by(tmp_path / "a.pt") is METHODS["dc_sam"]
    torch.save({"encoder.weight": torch.zeros(1)}, tmp_path / "b.pt")
    with pytest.raises(UsageError, match=r"b\.pt is neither .*DC-SAM.*VRP-SAM.*encoder\.weight"):
        read_checkpoint(tmp_path / "b.pt")
    torch.save({"state_dict": Path("anything")}, tmp_path / "c.pt")
    with pytest.raises(UsageError, match=r"c\.pt cannot be read as weights"):
        published_by(tmp_path / "c.pt")
    assert read_checkpoint(save_tiny_checkpoint(tmp_path / "d.safetensors"))[0]["method"] == (
        "dc_sam"
    )
