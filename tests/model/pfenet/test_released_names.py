"""Checkpoints of PFENet's program: the names of its files, how they are told, and restored."""

import sys
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from common.checkpoint import read_facts
from common.errors import UsageError
from model.backbones.backbone import BUILDERS
from model.checkpoint import load_method, options_of, published_by, read_checkpoint
from model.dc_sam.released_names import released_name as released_backbone_name
from model.pfenet.config import PfenetOptions
from model.pfenet.released_names import import_release
from model.registry import METHODS
from tools.import_checkpoint import main

CHANNELS = {"vgg16": 768, "resnet50": 1536, "resnet101": 1536}


def learned_shapes(channels: int, width: int) -> dict[str, tuple[int, ...]]:
    """What the published program learns, as it names it."""
    fine = (width, width, 3, 3)
    shapes = {f"down_{side}.0.weight": (width, channels, 1, 1) for side in ("query", "supp")}
    for scale in range(4):
        shapes[f"init_merge.{scale}.0.weight"] = (width, 2 * width + 1, 1, 1)
        shapes |= {f"beta_conv.{scale}.{layer}.weight": fine for layer in (0, 2)}
    for scale in range(3):
        shapes[f"alpha_conv.{scale}.0.weight"] = (width, 2 * width, 1, 1)
    for name in ("cls", *(f"inner_cls.{scale}" for scale in range(4))):
        shapes |= {f"{name}.0.weight": fine, f"{name}.3.weight": (2, width, 1, 1)}
        shapes[f"{name}.3.bias"] = (2,)
    return shapes | {
        "res1.0.weight": (width, 4 * width, 1, 1),
        "res2.0.weight": fine,
        "res2.2.weight": fine,
    }


def published(backbone: str, width: int = 256) -> dict[str, Tensor]:
    """A state dict as the program saves one; what it learns is drawn, its backbone untrained."""
    generator = torch.Generator().manual_seed(0)
    network = BUILDERS[backbone]({})
    state = {
        released_backbone_name(f"backbone.network.{name}"): value
        for name, value in network.state_dict().items()
    }
    for name, shape in learned_shapes(CHANNELS[backbone], width).items():
        state[name] = torch.randn(shape, generator=generator)
    return {f"module.{name}": value for name, value in state.items()}


def test_layers_go_where_they_act():
    state = published("resnet50", width=4)
    options, weights = import_release(state, "best.pth")
    assert options == PfenetOptions(backbone="resnet50", width=4)
    assert len(weights) == len(state)
    for ours, theirs in {
        "enrichment.merge.3.0.weight": "init_merge.3.0.weight",
        "enrichment.connect.1.0.weight": "alpha_conv.1.0.weight",
        "enrichment.refine.2.2.weight": "beta_conv.2.2.weight",
        "enrichment.classify.0.3.bias": "inner_cls.0.3.bias",
        "enrichment.join.0.weight": "res1.0.weight",
        "enrichment.refine_all.0.weight": "res2.0.weight",
        "enrichment.classify_all.0.weight": "cls.0.weight",
        "backbone.network.conv3.weight": "layer0.6.weight",
        "backbone.network.layer4.2.conv1.weight": "layer4.2.conv1.weight",
    }.items():
        assert weights[ours] is state[f"module.{theirs}"]
    # the program reduces stage 3 beside stage 2, this one stage 2 beside stage 3
    stage2, stage3 = torch.randn(1, 512, 2, 2), torch.randn(1, 1024, 2, 2)
    for ours, theirs in (("reduce_query", "down_query"), ("reduce_support", "down_supp")):
        torch.testing.assert_close(
            F.conv2d(torch.cat([stage2, stage3], 1), weights[f"{ours}.0.weight"]),
            F.conv2d(torch.cat([stage3, stage2], 1), state[f"module.{theirs}.0.weight"]),
            rtol=1e-4,
            atol=1e-3,
        )


def test_everything_that_does_not_fit_is_named():
    state = published("vgg16", width=4)
    del state["module.res2.0.weight"]
    state["module.res3.0.weight"] = torch.zeros(1)
    with pytest.raises(UsageError) as error:
        import_release(state, "best.pth")
    assert "best.pth does not fit PFENet with vgg16; missing: res2.0.weight" in str(error.value)
    assert "unknown: res3.0.weight" in str(error.value)
    with pytest.raises(UsageError, match="no checkpoint of PFENet: it lacks one of down_supp"):
        import_release({"weight": torch.zeros(1)}, "other.pth")


def test_a_published_file_is_told_by_its_names_and_restored(tmp_path, monkeypatch):
    state = published("vgg16", width=4)
    path, ours = tmp_path / "train_epoch_50.pth", tmp_path / "ours.safetensors"
    optimizer = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 50, "state_dict": state, "optimizer": optimizer}, path)
    assert published_by(path) is METHODS["pfenet"]
    words = ["import", str(path), "--out", str(ours), "--sizes", "coco"]
    monkeypatch.setattr(sys, "argv", words)

    assert main() == 0

    facts: Mapping = read_facts(ours)
    assert facts["method"] == "pfenet"
    coco = PfenetOptions(backbone="vgg16", width=4, image_size=641, scales="shares")
    assert options_of(facts, ours) == coco
    assert options_of(read_checkpoint(path)[0], path) == PfenetOptions(backbone="vgg16", width=4)
    for file in (path, ours):
        method, _ = load_method(file, torch.device("cpu"))
        restored = method.state_dict()
        assert torch.equal(restored["enrichment.join.0.weight"], state["module.res1.0.weight"])
        assert torch.equal(
            restored["backbone.network.features.40.weight"], state["module.layer4.6.weight"]
        )
