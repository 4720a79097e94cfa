"""Names and shapes of every size of SINE, and a file as the released program saves it."""

from pathlib import Path

import pytest
import torch

from common.errors import UsageError
from model.backbones.backbone import Backbone
from model.checkpoint import load_method
from model.official import OFFICIAL
from model.sine.builder import assemble, build_sine, dino
from model.sine.config import SineOptions
from model.sine.network import Sine
from model.sine.released_names import BACKBONE, released_names
from tests.golden.golden_set import Weights
from tests.golden.method_set import method_set
from tests.golden.sine_case import SineCase

SIZES = {
    "vit_large": ("l", 200),
    "vit_base, 200 queries": ("b", 200),
    "vit_small, 200 queries": ("s", 200),
    "vit_small, 20 queries": ("s", 20),
}
"""What the set calls a size -> DINOv2's letter, and queries."""


@pytest.fixture(scope="module")
def case() -> SineCase:
    return SineCase(method_set("sine"))


@pytest.mark.parametrize("name", SIZES)
def test_names_and_shapes(case: SineCase, name: str):
    size, queries = SIZES[name]
    with torch.device("meta"):
        network = dino(size)
        options = SineOptions(size=size, queries=queries)
        model = assemble(options, Backbone(f"dinov2_{size}", network))
        listed = {
            ours: torch.empty(tuple(shape))
            for theirs, shape in case.shapes(name).items()
            for ours in released_names([theirs]).values()
        }
    official = {n.removeprefix(BACKBONE): v for n, v in listed.items() if n.startswith(BACKBONE)}
    expected = {n: v.shape for n, v in network.rename_official(official).items()}
    assert {n: v.shape for n, v in network.state_dict().items()} == expected
    learned = {n: v for n, v in model.state_dict().items() if not n.startswith(BACKBONE)}
    expected = {n: v.shape for n, v in listed.items() if not n.startswith(BACKBONE)}
    assert {n: v.shape for n, v in learned.items()} == expected
    counts = case.golden.json("state_dict.json")["counts"]
    told = next(count for key, count in counts.items() if key in (name, f"{name}, 200 queries"))
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == told["trainable"]
    assert len(trained) == len(learned)
    assert sum(v.numel() for v in model.neck.state_dict().values()) == told["neck"]


@pytest.fixture(scope="module")
def released(case: SineCase, tmp_path_factory) -> Path:
    """A filled file of DINOv2-S, with what a file may have left from its program's development."""
    path = tmp_path_factory.mktemp("weights") / OFFICIAL["sine"].file
    torch.save({**case.state("fss"), "segmenter.weight": torch.zeros(1)}, path)
    return path


def test_a_released_file_loads(case: SineCase, released: Path):
    model = build_sine(SineOptions(size="s", queries=20, released=str(released)))
    state, found = case.state("fss"), model.state_dict()
    pairs = {
        "transformer_decoder.temp": "former.temperature",
        "transformer_decoder.transformer_layers.3.transformer_ffn_layer2.linear1.weight": (
            "former.layers.3.class_forward.expand.weight"
        ),
        "image_encoder.neck.2.weight": "neck.2.weight",
        "image_encoder.encoder.pos_embed": "backbone.network.transformer.pos_embed",
        "image_encoder.encoder.blocks.11.ls2.gamma": (
            "backbone.network.transformer.blocks.11.ls2.gamma"
        ),
    }
    for theirs, ours in pairs.items():
        assert torch.equal(found[ours], state[theirs]), ours


def test_a_released_file_is_a_checkpoint(released: Path):
    model, facts = load_method(released, torch.device("cpu"))
    assert isinstance(model, Sine)
    assert not model.training
    assert facts["method"] == "sine"
    assert (facts["model"]["size"], facts["model"]["queries"]) == ("s", 20)


def without(state: Weights, part: str) -> Weights:
    return {n: v for n, v in state.items() if part not in n}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: without(s, "id_class_embed.bias"), "missing: former.identity_head.bias"),
        (lambda s: without(s, "blocks.5.norm1.bias"), "missing: transformer.blocks.5.norm1.bias"),
        (lambda s: without(s, "query_feat"), "no checkpoint of SINE"),
        (lambda s: {**s, "criterion.other": torch.zeros(1)}, "unknown: criterion.other"),
        (
            lambda s: {**s, "transformer_decoder.query_feat.weight": torch.zeros(30, 256)},
            "give --queries 30",
        ),
        (
            lambda s: {**s, "image_encoder.encoder.cls_token": torch.zeros(1, 1, 768)},
            "holds DINOv2 of size b, not s",
        ),
    ],
)
def test_other_files_are_refused(case: SineCase, monkeypatch, change, complaint):
    state = change(case.state("fss"))
    monkeypatch.setattr("model.sine.builder.read_weights", lambda *_: state)
    with pytest.raises(UsageError, match=complaint):
        build_sine(SineOptions(size="s", queries=20, released="other.bin"))


def test_weights_without_dinov2_take_its_official_file(case: SineCase, tmp_path, monkeypatch):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    path = tmp_path / "without.bin"
    torch.save(without(case.state("fss"), "image_encoder.encoder"), path)
    options = SineOptions(size="s", queries=20, released=str(path))
    with pytest.raises(UsageError, match="no such weights file"):
        build_sine(options)
    official = {
        name.removeprefix("image_encoder.encoder."): value
        for name, value in case.state("fss").items()
        if "image_encoder.encoder." in name
    }
    torch.save(official, tmp_path / "dinov2_vits14_pretrain.pth")
    position = build_sine(options).backbone.network.transformer.pos_embed
    assert torch.equal(position, official["pos_embed"])
