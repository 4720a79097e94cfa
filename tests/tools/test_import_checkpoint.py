import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.checkpoint import read_facts
from common.errors import UsageError
from model.checkpoint import load_method, options_of, read_checkpoint
from model.dc_sam.builder import build_dc_sam, restore_dc_sam
from model.dc_sam.config import DcSamOptions
from model.dc_sam.released_names import import_release, read_release, released_name
from model.sam.adapters import adapter_names, add_adapters
from model.sam.sam2 import Sam2
from tools.import_checkpoint import main

WIDTH = 128
"""Of prompts and embedding: that of the tiny SAM, so that whole models stay small."""
VGG_STAGES = {
    0: {0: (64, 3), 3: (64, 64)},
    1: {0: (128, 64), 3: (128, 128)},
    2: {0: (256, 128), 3: (256, 256), 6: (256, 256)},
    3: {0: (512, 256), 3: (512, 512), 6: (512, 512)},
    4: {0: (512, 512), 3: (512, 512), 6: (512, 512)},
}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    values = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{value}": (width,) for value in values} | {f"{name}.num_batches_tracked": ()}


def vgg() -> dict[str, tuple[int, ...]]:
    shapes = {}
    for stage, convolutions in VGG_STAGES.items():
        for index, (outputs, inputs) in convolutions.items():
            shapes[f"layer{stage}.{index}.weight"] = (outputs, inputs, 3, 3)
            shapes[f"layer{stage}.{index}.bias"] = (outputs,)
            shapes |= norm(f"layer{stage}.{index + 1}", outputs)
    return shapes


def resnet(blocks: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for index, (outputs, inputs) in {0: (64, 3), 3: (64, 64), 6: (128, 64)}.items():
        shapes[f"layer0.{index}.weight"] = (outputs, inputs, 3, 3)
        shapes |= norm(f"layer0.{index + 1}", outputs)
    inputs = 128
    for stage, count in enumerate(blocks, start=1):
        inner = 32 * 2**stage
        for number in range(count):
            block = f"layer{stage}.{number}"
            convolutions = ((inner, inputs, 1), (inner, inner, 3), (4 * inner, inner, 1))
            for index, (outputs, depth, kernel) in enumerate(convolutions, start=1):
                shapes[f"{block}.conv{index}.weight"] = (outputs, depth, kernel, kernel)
                shapes |= norm(f"{block}.bn{index}", outputs)
            if number == 0:
                shapes[f"{block}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
                shapes |= norm(f"{block}.downsample.1", 4 * inner)
            inputs = 4 * inner
    return shapes


def decoder(name: str) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}.{table}.weight": (25, WIDTH) for table in ("supp_q_feat", "q_embed")}
    for layer, attention in (
        ("transformer_self_attention_layers", "self_attn"),
        ("transformer_cross_attention_layers", "multihead_attn"),
        ("transformer_cross_attention_layers_0", "multihead_attn"),
    ):
        shapes |= {
            f"{name}.{layer}.0.{attention}.in_proj_weight": (3 * WIDTH, WIDTH),
            f"{name}.{layer}.0.{attention}.in_proj_bias": (3 * WIDTH,),
            f"{name}.{layer}.0.{attention}.out_proj.weight": (WIDTH, WIDTH),
            f"{name}.{layer}.0.{attention}.out_proj.bias": (WIDTH,),
            f"{name}.{layer}.0.norm.weight": (WIDTH,),
            f"{name}.{layer}.0.norm.bias": (WIDTH,),
        }
    return shapes


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors which take no memory, each with another value, named as a process of DDP would."""
    return {
        f"module.{name}": torch.tensor(0 if name.endswith("tracked") else number + 0.5).expand(
            shape
        )
        for number, (name, shape) in enumerate(shapes.items())
    }


def dc_sam(backbone: dict[str, tuple[int, ...]], middle: int) -> dict[str, tuple[int, ...]]:
    return {
        **backbone,
        "downsample_query.0.weight": (WIDTH, middle, 1, 1),
        "merge_1.0.weight": (WIDTH, 3 * WIDTH + 1, 1, 1),
        "merge_2.0.weight": (WIDTH, 3 * WIDTH + 1, 1, 1),
        **decoder("transformer_decoder"),
        **decoder("neg_transformer_decoder"),
    }


@pytest.fixture
def state() -> dict[str, Tensor]:
    return filled(dc_sam(vgg(), 768))


def test_a_model_of_vgg_on_sam(state):
    options, weights = import_release(state, "best.pt", sam_model="vit_b")

    assert options == DcSamOptions(backbone="vgg16", sam_model="vit_b", wiring="release")
    assert len(weights) == len(state)
    for theirs, ours in {
        "downsample_query.0.weight": "generator.reduce.0.weight",
        "merge_2.0.weight": "generator.negative.fuse.weight",
        "transformer_decoder.supp_q_feat.weight": "generator.positive.query.weight",
        "neg_transformer_decoder.q_embed.weight": "generator.negative.query_position.weight",
        "layer0.0.bias": "backbone.network.features.0.bias",
        "layer2.3.weight": "backbone.network.features.17.weight",
        "layer4.7.running_var": "backbone.network.features.41.running_var",
    }.items():
        assert weights[ours] is state[f"module.{theirs}"]


def test_layers_of_a_branch_go_where_they_act(state):
    weights = import_release(state, "best.pt")[1]
    layers = {
        "support_attention.projection.weight": "cross_attention_layers_0.0.multihead_attn.in_proj_"
        "weight",
        "query_attention.output.bias": "cross_attention_layers.0.multihead_attn.out_proj.bias",
        "query_attention.norm.weight": "cross_attention_layers.0.norm.weight",
        "self_attention.in_proj_bias": "self_attention_layers.0.self_attn.in_proj_bias",
        "norm.bias": "self_attention_layers.0.norm.bias",
    }
    for branch, released in (
        ("positive", "transformer_decoder"),
        ("negative", "neg_transformer_decoder"),
    ):
        for ours, theirs in layers.items():
            name = f"module.{released}.transformer_{theirs}"
            assert weights[f"generator.{branch}.{ours}"] is state[name]


@pytest.mark.parametrize(
    ("name", "blocks"), [("resnet50", (3, 4, 6, 3)), ("resnet101", (3, 4, 23, 3))]
)
def test_resnets_on_sam2(name, blocks):
    shapes = dc_sam(resnet(blocks), 1536) | {
        "sam_downscaling.0.weight": (WIDTH // 4, WIDTH // 8, 2, 2),
        "sam_downscaling.0.bias": (WIDTH // 4,),
        "sam_downscaling.1.weight": (WIDTH // 4,),
        "sam_downscaling.1.bias": (WIDTH // 4,),
        "sam_downscaling.3.weight": (WIDTH, WIDTH // 4, 2, 2),
        "sam_downscaling.3.bias": (WIDTH,),
    }
    state = filled(shapes)
    options, weights = import_release(state, "best.pt")

    assert options == DcSamOptions(backbone=name, sam_version=2, wiring="release")
    assert {released_name(n) for n in weights} == shapes.keys()
    assert weights["backbone.network.conv3.weight"] is state["module.layer0.6.weight"]
    assert weights["generator.fold_levels.norm.bias"] is state["module.sam_downscaling.1.bias"]


def test_the_prior_fusion_has_no_middle_features():
    shapes = dc_sam(vgg(), 768)
    del shapes["downsample_query.0.weight"]
    shapes |= {f"merge_{i}.0.weight": (WIDTH, 2 * WIDTH + 1, 1, 1) for i in (1, 2)}

    options = import_release(filled(shapes), "best.pt")[0]

    assert options == DcSamOptions(backbone="vgg16", fusion="prior", wiring="release")


def test_everything_that_does_not_fit_is_named(state):
    del state["module.layer1.4.running_mean"]
    state["module.merge_3.0.weight"] = torch.zeros(1)
    state["module.transformer_decoder.q_embed.weight"] = torch.zeros(20, WIDTH)

    with pytest.raises(UsageError, match=r"best\.pt") as error:
        import_release(state, "best.pt")

    assert "missing: layer1.4.running_mean;" in str(error.value)
    assert "unknown: merge_3.0.weight;" in str(error.value)
    assert "transformer_decoder.q_embed.weight (20, 128) instead of (25, 128)" in str(error.value)


def test_counts_of_batches_may_be_missing(state):
    state = {name: value for name, value in state.items() if not name.endswith("tracked")}
    assert len(import_release(state, "best.pt")[1]) == len(state)


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"encoder.weight": (1,)}, "it has no transformer_decoder.supp_q_feat.weight"),
        (dc_sam({}, 1536), "layer3 has 0 blocks"),
        ({"sam2.no_mem_embed": (1,)}, r"its SAM 2 is none of the known ones: width 0, 0 blocks"),
    ],
)
def test_other_models_are_refused(shapes, reason):
    with pytest.raises(UsageError, match=reason):
        import_release(filled(shapes), "best.pt")


def test_a_file_with_more_than_tensors_is_not_executed(tmp_path):
    torch.save({"state_dict": Path("anything")}, tmp_path / "best.pt")
    with pytest.raises(UsageError, match="cannot be read as weights"):
        read_release(tmp_path / "best.pt")


def run(monkeypatch, *flags: object) -> int:
    monkeypatch.setattr(sys, "argv", ["import_release", *map(str, flags)])
    return main()


def test_the_file_restores_the_model_without_the_backbones_file(tmp_path, monkeypatch, state):
    released, ours = tmp_path / "best.pt", tmp_path / "ours.safetensors"
    torch.save(state, released)

    assert run(monkeypatch, released, "--out", ours, "--sam_model", "vit_b") == 0

    assert read_facts(ours)["imported_from"] == "best.pt"
    facts, weights = read_checkpoint(ours)
    options = options_of(facts, ours)
    assert options == DcSamOptions(backbone="vgg16", sam_model="vit_b", wiring="release")
    tiny = replace(options, sam_model="tiny", random_weights=True)
    model = restore_dc_sam(tiny, weights, ours).state_dict()
    for name in weights:
        assert torch.equal(model[name], state[f"module.{released_name(name)}"]), name


def test_a_released_file_can_be_used_directly(tmp_path, state):
    torch.save(state, tmp_path / "best.pt")
    facts, weights = read_checkpoint(tmp_path / "best.pt")
    assert options_of(facts, tmp_path) == DcSamOptions(backbone="vgg16", wiring="release")
    assert weights.keys() == import_release(state, "best.pt")[1].keys()


def test_weights_of_another_configuration_are_refused(state):
    options, weights = import_release(state, "best.pt")
    del weights["generator.negative.fuse.weight"]
    tiny = replace(options, sam_model="tiny", random_weights=True)
    with pytest.raises(UsageError, match=r"best\.pt.*generator\.negative\.fuse\.weight"):
        restore_dc_sam(tiny, weights, "best.pt")


def test_the_variant_of_sam_has_to_be_of_the_same_version(tmp_path, monkeypatch, state):
    torch.save(state, tmp_path / "best.pt")
    with pytest.raises(UsageError, match=r"sam2\.1_hiera_t is no SAM version 1"):
        run(
            monkeypatch,
            *(tmp_path / "best.pt", "--out", tmp_path / "ours.safetensors"),
            *("--sam_model", "sam2.1_hiera_t"),
        )


SAM2_WIDTH = 80
"""Of the tiny SAM 2."""


@pytest.fixture(scope="module")
def video_state() -> dict[str, Tensor]:
    """A video model of the release with the tiny SAM 2, of the files' names but for the size."""
    options = DcSamOptions(
        backbone="vgg16", sam_version=2, sam_model="tiny", random_weights=True, wiring="release"
    )
    torch.manual_seed(0)
    return {
        "module.sam2." + name.removeprefix("segmenter.network.")
        if name.startswith("segmenter.")
        else "module.prompt_encoder." + released_name(name): value
        for name, value in build_dc_sam(options).state_dict().items()
    }


def test_a_video_model_needs_no_other_file(tmp_path, monkeypatch, video_state):
    released, ours = tmp_path / "best.pt", tmp_path / "ours.safetensors"
    torch.save(video_state, released)

    assert run(monkeypatch, released, "--out", ours) == 0

    direct, facts = load_method(released, torch.device("cpu"))
    imported, _ = load_method(ours, torch.device("cpu"))
    assert options_of(facts, released) == DcSamOptions(
        backbone="vgg16", sam_version=2, sam_model="tiny", wiring="release"
    )
    for model in (direct.state_dict(), imported.state_dict()):
        assert len(model) == len(video_state)
        decoder = "sam_mask_decoder.conv_s0.weight"
        query = "transformer_decoder.supp_q_feat.weight"
        for name, theirs in {
            f"segmenter.network.{decoder}": f"sam2.{decoder}",
            "segmenter.network.no_mem_embed": "sam2.no_mem_embed",
            "generator.positive.query.weight": f"prompt_encoder.{query}",
            "generator.negative.query.weight": f"prompt_encoder.neg_{query}",
            "backbone.network.features.0.bias": "prompt_encoder.layer0.0.bias",
        }.items():
            assert torch.equal(model[name], video_state[f"module.{theirs}"])


def test_everything_of_a_video_model_that_does_not_fit_is_named(video_state):
    state = {name.removeprefix("module."): value for name, value in video_state.items()}
    del state["sam2.memory_encoder.out_proj.bias"]
    del state["prompt_encoder.merge_2.0.weight"]
    state["sam2.extra"] = state["optimizer.step"] = torch.zeros(1)
    state["sam2.no_obj_ptr"] = torch.zeros(1, 7)
    with pytest.raises(UsageError) as error:
        import_release(state, "best.pt")
    message = str(error.value)
    assert "missing: prompt_encoder.merge_2.0.weight, sam2.memory_encoder.out_proj.bias" in message
    assert "unknown: sam2.extra, optimizer.step" in message
    assert f"sam2.no_obj_ptr (1, 7) instead of (1, {SAM2_WIDTH})" in message

    with pytest.raises(UsageError, match=r"best\.pt: it holds tiny, not sam2\.1_hiera_l"):
        import_release(video_state, "best.pt", "sam2.1_hiera_l")


def test_adapters_of_a_video_model_are_restored(tmp_path, video_state):
    network = Sam2("tiny").network
    add_adapters(network)
    start = "module.sam2.base_model.model."
    state = {n: v for n, v in video_state.items() if not n.startswith("module.sam2.")}
    state |= {start + name: value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "best.pt")

    restored = load_method(tmp_path / "best.pt", torch.device("cpu"))[0].state_dict()

    assert len(restored) == len(state)
    names = adapter_names(restored)
    assert names
    for name in names:
        released = start + name.removeprefix("segmenter.network.")
        assert torch.equal(restored[name], state[released])
