"""Official files of every size fit PerSAM's SAM, and the golden values are told apart."""

from pathlib import Path

import pytest
import torch

from common.errors import UsageError
from model.official import OFFICIAL
from model.persam.builder import build_persam
from model.persam.config import PerSamOptions
from model.sam.sam1 import Sam
from tests.golden.fill import fill
from tests.golden.method_set import assert_changes_are_seen, method_set
from tests.golden.persam_case import KEPT
from tests.golden.persam_log import TOLERANCES

PARAMETERS = {
    "vit_h": (641_090_608, 637_026_048),
    "vit_l": (312_342_832, 308_278_272),
    "vit_b": (93_735_472, 89_670_912),
    "vit_t": (10_130_092, 6_065_532),
}
"""Of all of SAM, and of its encoder."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_names_shapes_and_counts_of_official_files(name: str):
    expected = method_set("persam").json("state_dict.json")[name]
    with torch.device("meta"):
        sam = Sam(name)
    found = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in sam.official.state_dict().items()
    }
    assert found == expected
    counts = [sum(w.numel() for w in module.parameters()) for module in (sam, sam.image_encoder)]
    assert tuple(counts) == PARAMETERS[name]


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MobileSAM's file as its project saves it, with weights of the fill rule."""
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    shapes = method_set("persam").json("state_dict.json")["vit_t"]
    state = {name: fill(name, shape, kind == "int64") for name, (shape, kind) in shapes.items()}
    path = tmp_path / OFFICIAL["vit_t"].file
    torch.save(state, path)
    return path


def test_an_official_file_loads(official: Path):
    options = PerSamOptions(sam_model="vit_t")
    assert options.files() == ("vit_t",)
    model = build_persam(options)
    state = torch.load(official, weights_only=True)
    assert model.segmenter.state_dict().keys() == state.keys()
    for name, value in model.segmenter.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_attention_bias_follows_the_weights(official: Path):
    attention = build_persam(PerSamOptions(sam_model="vit_t")).segmenter.image_encoder.layers[2]
    attention = attention.blocks[0].attn
    bias = attention.bias
    assert bias.shape == (5, 196, 196)
    # the first place and one that is 3 rows and 2 columns away, both ways
    expected = attention.attention_biases[:, 3 * 14 + 2]
    assert torch.equal(bias[:, 0, 3 * 14 + 2], expected)
    assert torch.equal(bias[:, 3 * 14 + 2, 0], expected)


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    with pytest.raises(UsageError, match=r"sam_vit_h_4b8939\.pth"):
        build_persam(PerSamOptions())


@pytest.mark.parametrize("file", KEPT)
def test_a_change_of_ten_tolerances_is_seen(file: str):
    groups = {name.split("/")[0] for name in method_set("persam").tensors(file)}
    for group in groups:  # all pairs of names are compared
        assert_changes_are_seen(method_set("persam").tensors(file, group), TOLERANCES)


def test_the_repository_holds_at_most_two_megabytes():
    folder = Path(__file__).parent / "values" / "persam"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
