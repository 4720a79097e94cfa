"""Names and shapes of SegIC's official files, and how they come into our model."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UsageError
from model.backbones.dino import vit_14
from model.checkpoint import published_by, read_checkpoint
from model.official import OFFICIAL
from model.registry import METHODS
from model.segic.builder import build_segic
from model.segic.config import CHANNELS, CLIP_FILES, SegicOptions
from model.segic.decoder import DecoderSize, SegicDecoder
from model.segic.text import clip_text_tower
from tests.clip_tokens import save_small_tokenizer
from tests.golden.fill import fill
from tests.golden.golden_set import Weights
from tests.golden.method_set import method_set
from tests.golden.segic_case import OFFICIAL_FILE, SegicCase

CLIP = "clip-vit-large-patch14 text tower (frozen, own file)"


@pytest.fixture(scope="module")
def case() -> SegicCase:
    return SegicCase(method_set("segic"))


def filled(case: SegicCase, name: str) -> Weights:
    """A file's tensors."""
    listed = case.golden.json("state_dict.json")[name]
    return {key: fill(case.prefix + key, shape) for key, (shape, _) in listed.items()}


@pytest.mark.parametrize("size", ["b", "l", "g"])
def test_names_and_shapes_of_the_decoder(case: SegicCase, size: str):
    listed = case.golden.json("state_dict.json")[OFFICIAL_FILE.format(size)]
    with torch.device("meta"):
        decoder = SegicDecoder(DecoderSize(CHANNELS[size], 896, 14))
    found = {name: list(value.shape) for name, value in decoder.state_dict().items()}
    assert found == {name: shape for name, (shape, _) in listed.items()}
    assert len(found) == 148
    counts = case.golden.json("state_dict.json")["_counts"]
    total = sum(value.numel() for value in decoder.state_dict().values())
    assert total == counts[OFFICIAL_FILE.format(size)]


def test_names_and_shapes_of_the_text_tower(case: SegicCase):
    listed = case.golden.json("state_dict.json")[CLIP]
    with torch.device("meta"):
        tower = clip_text_tower()
    found = {f"text_model.{name}": list(v.shape) for name, v in tower.state_dict().items()}
    assert found == {name: shape for name, (shape, _) in listed.items()}


@pytest.fixture
def published(case: SegicCase, tmp_path: Path) -> Path:
    """A file of the published program for DINOv2-L."""
    path = tmp_path / OFFICIAL["segic_l_80k"].file
    torch.save(filled(case, OFFICIAL_FILE.format("l")), path)
    return path


def test_a_published_file_is_known_and_loads(case: SegicCase, published: Path, monkeypatch):
    assert published_by(published) is METHODS["segic"]
    facts, weights = read_checkpoint(published)
    assert facts["method"] == "segic"
    assert facts["model"]["size"] == "l"
    expected = filled(case, OFFICIAL_FILE.format("l"))
    assert {name.removeprefix("decoder.") for name in weights} == expected.keys()
    for name, value in expected.items():
        assert torch.equal(weights[f"decoder.{name}"], value), name


@pytest.fixture
def few_blocks(monkeypatch):
    """Official networks of one layer each."""
    monkeypatch.setattr("model.segic.builder.vit_14", lambda *which: vit_14(*which, depth=1))
    monkeypatch.setattr("model.segic.text.clip_text_tower", lambda: clip_text_tower(1))


def test_a_released_decoder_is_built_by_its_name(
    case: SegicCase, published: Path, few_blocks, monkeypatch
):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(published.parent))
    options = SegicOptions(decoder="segic_l_80k", random_weights=True)
    assert options.files() == ("segic_l_80k",)
    assert options.problems() == []
    state = build_segic(options).decoder.state_dict()
    for name, value in filled(case, OFFICIAL_FILE.format("l")).items():
        assert torch.equal(state[name], value), name


def test_a_file_of_another_program_or_size_is_refused(published: Path, few_blocks):
    state = torch.load(published, weights_only=True)
    for wrong, message in (
        ({**state, "extra": torch.zeros(1)}, r"unknown: decoder\.extra"),
        ({**state, "inst_proj.bias": torch.zeros(3)}, r"shape: decoder\.inst_proj\.bias"),
        ({"weight": torch.zeros(1)}, "no checkpoint of SegIC's published program"),
    ):
        torch.save(wrong, published)
        with pytest.raises(UsageError, match=message):
            build_segic(SegicOptions(decoder=str(published), random_weights=True))


def test_official_files_of_every_part_load(
    case: SegicCase, tmp_path: Path, few_blocks, monkeypatch
):
    """DINOv2-B and CLIP of one layer as their publishers save them, filled with numbers."""
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    dino = {
        name: value
        for name, value in filled(case, "dinov2_vitb14 (frozen, own file)").items()
        if not name.startswith("blocks.") or name.startswith("blocks.0.")
    }
    torch.save(dino, tmp_path / OFFICIAL["dinov2_b"].file)
    clip = {
        name: value
        for name, value in filled(case, CLIP).items()
        if ".layers." not in name or ".layers.0." in name
    }
    others = {"logit_scale": torch.zeros(()), "vision_model.pre_layrnorm.bias": torch.zeros(8)}
    tower, tokenizer = (tmp_path / OFFICIAL[name].file for name in CLIP_FILES)
    save_file(clip | others, tower)
    with pytest.raises(
        UsageError, match=r"tokenizer\.json; `python -m tools\.weights fetch clip_l"
    ):
        build_segic(SegicOptions(size="b"))
    save_small_tokenizer(tokenizer)

    options = SegicOptions(size="b")
    assert options.files() == ("dinov2_b", *CLIP_FILES)
    model = build_segic(options)

    transformer = model.backbone.network.transformer
    assert torch.equal(transformer.blocks[0].mlp.fc1.weight, dino["blocks.0.mlp.fc1.weight"])
    assert torch.equal(transformer.pos_embed, dino["pos_embed"])
    found = model.sentences.tower.state_dict()
    for name, value in clip.items():
        assert torch.equal(found[name.removeprefix("text_model.")], value), name
    assert model.sentences(["a photo of a dog", ""]).shape == (2, 768)
