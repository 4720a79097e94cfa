"""DINOv3 is the official one: tokens of every block, position encoding, names of every size."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from common.errors import UsageError
from model.backbones.dinov3 import NAMES, DinoV3, vit_16
from model.weights import compare_names, load_strictly, read_weights
from tests.golden.fill import image
from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import assert_changes_are_seen

TOLERANCES = {"rope|train_factors|bf16_periods": 1e-6, "": 1e-4}
SIZES = dict(zip(NAMES, ("dinov3_vits16", "dinov3_vitb16", "dinov3_vitl16"), strict=True))
PARAMETERS = {"dinov3_s": 21_596_160, "dinov3_b": 85_659_648, "dinov3_l": 303_128_576}
"""Without the mask token and the biases of keys."""


@torch.no_grad()
def encoder_values(case) -> Weights:
    """Everything that the file holds, but for what it was given."""
    encoder = case.encoder
    pictures = image(f"{case.facts['prefix']}input/encoder", *case.facts["encoder_input"])
    seen: Weights = {}

    def remember(name):
        def hook(module, given, result):
            seen[name] = result[0].flatten(0, -2)[:, ::8]

        return hook

    network = encoder.transformer
    watched = {"patch_embed_s8": network.patch_embed}
    watched |= {f"block{i}_s8": block for i, block in enumerate(network.blocks)}
    hooks = [module.register_forward_hook(remember(name)) for name, module in watched.items()]
    tokens = encoder.tokens(pictures)
    for hook in hooks:
        hook.remove()
    sine, cosine = encoder.rotation(*(side // 16 for side in pictures.shape[-2:])).chunk(2, dim=1)

    factors = case.golden.tensors("insid3_encoder")["train_factors"]
    without = {n: v for n, v in case.official_weights().items() if n != "rope_embed.periods"}
    rounded = case.encoder_of(without)
    return seen | {
        "tokens": tokens[:1],
        "tokens_sample1_s4": tokens[1, :, ::4],
        "rope_sin": sine[:, :32],
        "rope_cos": cosine[:, :32],
        "bf16_periods": rounded.transformer.rope.periods,
        "bf16_tokens_s4": rounded.tokens(pictures)[0, :, ::4],
        "train_factors": factors,
        "train_tokens_s4": encoder.tokens(pictures, factors.tolist())[0, :, ::4],
    }


def test_tokens_and_position_encodings_are_the_official_ones(insid3_case):
    expected = insid3_case.golden.tensors("insid3_encoder")
    assert_close(encoder_values(insid3_case), expected, TOLERANCES)


def test_a_change_of_any_of_them_is_seen(insid3_case):
    assert_changes_are_seen(insid3_case.golden.tensors("insid3_encoder"), TOLERANCES)


def test_exact_periods_are_taken_whatever_a_file_holds(insid3_case):
    weights = insid3_case.official_weights()
    weights["rope_embed.periods"] = weights["rope_embed.periods"].bfloat16().float()
    found = insid3_case.encoder_of(weights, exact_periods=True).transformer.rope.periods
    torch.testing.assert_close(found, 100 ** (torch.arange(16) / 16))


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_of_every_official_size_fit(name, insid3_case):
    listed = insid3_case.golden.json("state_dict.json")[SIZES[name]]
    with torch.device("meta"):
        encoder = DinoV3(vit_16(name))
        state = {key: torch.empty(shape) for key, (shape, _) in listed.items()}
        assert sum(p.numel() for p in encoder.parameters()) == PARAMETERS[name]
        compare_names(encoder.rename_official(state), encoder.state_dict(), name)
        del state["blocks.3.mlp.fc1.weight"]
        with pytest.raises(UsageError, match=r"missing: transformer.blocks.3.mlp.fc1.weight"):
            compare_names(encoder.rename_official(state), encoder.state_dict(), name)


@torch.no_grad()
@pytest.mark.parametrize("published_as", ["meta.pth", "timm.safetensors", "transformers"])
def test_files_of_all_three_publishers_give_the_same_features(published_as, insid3_case, tmp_path):
    case, official = insid3_case, insid3_case.official_weights()
    picture = image(f"{case.facts['prefix']}input/encoder", 1, 64, 96)
    if published_as == "meta.pth":
        torch.save(official, path := tmp_path / published_as)
    elif published_as == "timm.safetensors":
        network = case.encoder.transformer
        names = {name for name, _ in network.named_parameters()}
        state = {name: value for name, value in network.state_dict().items() if name in names}
        save_file(state, path := tmp_path / published_as)
    else:
        write_with_transformers(official, case.facts["depth"], tmp_path)
        path = tmp_path / "model.safetensors"
    encoder = DinoV3(vit_16("dinov3_s", depth=case.facts["depth"]), exact_periods=True)
    load_strictly(encoder, encoder.rename_official(read_weights(path)), path)
    torch.testing.assert_close(encoder(picture), case.encoder(picture), atol=1e-5, rtol=0)


def write_with_transformers(official: Weights, depth: int, folder) -> None:
    """Save the official tensors by transformers' own class, filled in by the names it prints."""
    model = DINOv3ViTModel(
        DINOv3ViTConfig(
            hidden_size=384,
            intermediate_size=1536,
            num_hidden_layers=depth,
            num_attention_heads=6,
            num_register_tokens=4,
        )
    )
    pairs = {
        "embeddings.cls_token": "cls_token",
        "embeddings.mask_token": "mask_token",
        "embeddings.register_tokens": "storage_tokens",
        "embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
        "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
        "norm.weight": "norm.weight",
        "norm.bias": "norm.bias",
    }
    state = {theirs: official[ours] for theirs, ours in pairs.items()}
    state["embeddings.mask_token"] = state["embeddings.mask_token"][None]
    parts = {
        "norm1.weight": "norm1.weight",
        "norm1.bias": "norm1.bias",
        "norm2.weight": "norm2.weight",
        "norm2.bias": "norm2.bias",
        "attention.o_proj.weight": "attn.proj.weight",
        "attention.o_proj.bias": "attn.proj.bias",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
        "mlp.up_proj.weight": "mlp.fc1.weight",
        "mlp.up_proj.bias": "mlp.fc1.bias",
        "mlp.down_proj.weight": "mlp.fc2.weight",
        "mlp.down_proj.bias": "mlp.fc2.bias",
    }
    for block in range(depth):
        here, there = f"blocks.{block}.", f"model.layer.{block}."
        state |= {there + theirs: official[here + ours] for theirs, ours in parts.items()}
        for number, letter in enumerate("qkv"):
            for kind in ("weight", "bias"):
                third = official[f"{here}attn.qkv.{kind}"].chunk(3)[number]
                if (letter, kind) != ("k", "bias"):
                    state[f"{there}attention.{letter}_proj.{kind}"] = third
    model.load_state_dict(state)
    model.save_pretrained(folder)
