"""Names and shapes of every official SANSA, and a file as the released program saves it."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from common.errors import UsageError
from model.checkpoint import load_method
from model.official import OFFICIAL
from model.sam.sam2 import Sam2
from model.sansa.adapters import adapter_widths, add_adapters
from model.sansa.builder import build_sansa
from model.sansa.config import SansaOptions
from model.sansa.network import Sansa
from tests.golden.fill import fill
from tests.golden.method_set import MethodSet, method_set
from tests.helpers import sam2_without_weights

SIZES = {"tiny": "sam2_hiera_t", "base": "sam2_hiera_b+", "large": "sam2_hiera_l"}
Shapes = dict[str, list]


@pytest.fixture(scope="module")
def golden() -> MethodSet:
    return method_set("sansa")


def frozen(listed: dict, size: str) -> Shapes:
    """The frozen tensors of a size; the file holds them once, whatever the factor."""
    return next(
        one["frozen"] for name, one in listed.items() if name.startswith(size) and "frozen" in one
    )


@pytest.mark.parametrize("factor", [0.3, 0.8])
@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes(golden: MethodSet, size: str, factor: float):
    listed = golden.json("state_dict.json")
    own = listed[f"{size}_factor{factor}"]
    network = sam2_without_weights(SIZES[size], object_scores=False).network
    with torch.device("meta"):
        trunk = network.image_encoder.trunk
        add_adapters(trunk, adapter_widths(trunk, factor))
    shapes = {f"sam.{n}": [list(v.shape), "float32"] for n, v in network.state_dict().items()}
    assert shapes == frozen(listed, size) | own["adapter_checkpoint"]
    learning = [p for n, p in network.named_parameters() if ".adapter." in n]
    assert len(learning) == own["counts"]["trained_tensors"]
    assert sum(p.numel() for p in learning) == own["counts"]["trained"]
    assert sum(p.numel() for p in network.parameters()) == own["counts"]["all"]


@pytest.fixture(scope="module")
def weights(golden: MethodSet, tmp_path_factory) -> Path:
    """A folder with SAM 2.0 tiny as Meta saves it and adapters as SANSA does, both filled."""
    folder = tmp_path_factory.mktemp("weights")
    sam = {n: fill(n, v.shape) for n, v in Sam2("sam2_hiera_t").official.state_dict().items()}
    torch.save({"model": sam}, folder / OFFICIAL["sam2_hiera_t"].file)
    torch.save(released(golden, 0.8), folder / OFFICIAL["sansa_generalist"].file)
    return folder


def released(golden: MethodSet, factor: float, prefix: str = "module.") -> dict:
    """What the released program saves: adapters, and how they came to be."""
    shapes = golden.json("state_dict.json")[f"tiny_factor{factor}"]["adapter_checkpoint"]
    return {
        "model": {prefix + name: fill(name, shape) for name, (shape, _) in shapes.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]},
        "lr_scheduler": {"last_epoch": 5},
        "epoch": 4,
        "args": Namespace(shots=1, adaptformer_stages=[2, 3], channel_factor=factor),
    }


def test_a_released_file_loads(golden: MethodSet, weights: Path, monkeypatch):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(weights))
    model = build_sansa(SansaOptions(sam_model="sam2_hiera_t", adapters="sansa_generalist"))
    found = model.segmenter.network.state_dict()
    for name, value in released(golden, 0.8, "sam.")["model"].items():
        bare = name.removeprefix("sam.sam.")
        assert torch.equal(found[bare], fill(f"sam.{bare}", value.shape)), name
    assert torch.equal(found["no_mem_embed"], fill("no_mem_embed", (1, 1, 256)))


def test_a_released_file_is_a_checkpoint(golden: MethodSet, weights: Path, monkeypatch):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(weights))
    model, facts = load_method(weights / OFFICIAL["sansa_generalist"].file, torch.device("cpu"))
    assert isinstance(model, Sansa)
    assert facts["model"]["sam_model"] == "sam2_hiera_t"
    name = "image_encoder.trunk.blocks.11.adapter.up_proj.weight"
    expected = fill(f"sam.{name}", (768, 614))
    assert torch.equal(model.segmenter.network.state_dict()[name], expected)


class Foreign:
    """Something that no released file holds."""


def without(state: dict, part: str) -> dict:
    return {n: v for n, v in state.items() if part not in n}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: {**s, "args": Foreign()}, "cannot be read as weights"),
        (lambda s: {"model": {**s["model"], "sam.no_mem_embed": torch.zeros(1)}}, "more than"),
        (lambda s: {"model": without(s["model"], "blocks.5.adapter.up_proj.bias")}, "missing"),
        (lambda s: {"model": without(s["model"], "blocks.5.")}, "lacks the adapter of block 5"),
        (lambda s: {"model": without(s["model"], "blocks.11.")}, "of no SAM 2 that SANSA uses"),
    ],
)
def test_other_files_are_refused(
    golden: MethodSet, weights: Path, tmp_path, monkeypatch, change, complaint
):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(weights))
    path = tmp_path / "adapter.pth"
    torch.save(change(released(golden, 0.3)), path)
    with pytest.raises(UsageError, match=complaint):
        build_sansa(SansaOptions(sam_model="sam2_hiera_t", adapters=str(path)))


def test_adapters_of_another_sam_are_refused(golden: MethodSet, weights: Path, monkeypatch):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(weights))
    with pytest.raises(UsageError, match="of sam2_hiera_t, not of sam2_hiera_l"):
        build_sansa(SansaOptions(adapters="sansa_generalist"))
