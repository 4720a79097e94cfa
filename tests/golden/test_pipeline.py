"""The decoder's logits, and the whole way from images to masks with SAM and SAM 2."""

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from model.backbones.backbone import build_backbone
from model.checkpoint import options_of, read_checkpoint
from model.dc_sam import cyclic_attention
from model.dc_sam.builder import build_generator, restore_dc_sam
from model.dc_sam.features import EncodedImages, Support
from model.dc_sam.network import DcSam
from model.dc_sam.prompt_generator import RELEASE_SAM1, RELEASE_SAM2
from model.dc_sam.released_names import import_release
from model.sam.sam1 import Sam, SamSize
from model.sam.sam2 import Sam2
from model.sam.segmenter import Segmenter, SegmenterFeatures
from model.weights import load_strictly
from tests.golden.golden_set import (
    Weights,
    assert_agrees,
    assert_close,
    part,
    released_pairing,
    split,
    summary,
)
from tests.helpers import both_steps
from tools.import_checkpoint import main as import_release_file

AFTER_THE_MASK = {"(pos|neg)2|logits_": 1e-2}
"""Where a pixel of the thresholded pseudo mask, a near-tie, fell to the other side."""
ENCODED = r"query_sam_s|image_embed_s|hr\d_s"
SMALL = SamSize(width=192, depth=4, heads=3, global_blocks=(1, 3))
SAM_2 = "sam2.1_hiera_t"


def summaries(name: str, logits: Tensor) -> Weights:
    """What the files hold of full logits, B x 512 x 512."""
    return {
        f"{name}_avg128": F.avg_pool2d(logits.unsqueeze(1), 4),
        f"{name}_stride4": logits[:, None, ::4, ::4],
        f"{name}_mean_std_min_max_posfrac": summary(logits),
    }


def resized(logits: Tensor) -> Tensor:
    return F.interpolate(logits, (512, 512), mode="bilinear", align_corners=True)


@pytest.fixture(scope="module")
def small_sam(case) -> Sam:
    sam = Sam("small", SMALL).eval()
    load_strictly(sam.official, case.weights("sam1_small_vit192"), "the golden state dict")
    return sam


@pytest.fixture(scope="module")
def sam2(case) -> Sam2:
    sam2 = Sam2(SAM_2).eval()
    weights = case.weights("sam2.1_hiera_tiny_meta_naming")
    load_strictly(sam2.official, weights, "the golden state dict")
    return sam2


@pytest.fixture(scope="module")
def sam_model(case, small_sam) -> DcSam:
    """The released image model of ResNet-50, on a small SAM."""
    options, weights = import_release(case.weights("dcsam_image_resnet50_samv1"), "golden")
    backbone = build_backbone("resnet50", None)
    load_strictly(backbone, part(weights, "backbone."), "golden")
    generator = build_generator(options, backbone.middle_channels, small_sam.channels)
    load_strictly(generator, part(weights, "generator."), "golden")
    assert generator.wiring == RELEASE_SAM1
    return DcSam(backbone, small_sam, generator).eval()


@pytest.fixture(scope="module")
def sam2_model(case, sam2, tmp_path_factory) -> DcSam:
    """The released image model of ResNet-50 on SAM 2, from the files that a person has."""
    folder = tmp_path_factory.mktemp("files")
    torch.save(case.weights("dcsam_image_resnet50_samv2"), folder / "best.pt")
    save_file(sam2.official.state_dict(), folder / "sam2.safetensors")
    command = ["import_release", str(folder / "best.pt"), "--out", str(folder / "ours.safetensors")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*command, "--sam_model", SAM_2])
        assert import_release_file() == 0
    facts, weights = read_checkpoint(folder / "ours.safetensors")
    options = options_of(facts, folder / "ours.safetensors")
    options = replace(options, sam_weights=folder / "sam2.safetensors")
    model = restore_dc_sam(options, weights, "golden").eval()
    assert model.generator.wiring == RELEASE_SAM2
    return model


def decoder_tokens(case, segmenter: Segmenter) -> Tensor:
    batch = len(case.support_masks)
    return segmenter.prompt(*(case.input(f"dec_{sign}", batch, 25, 256) for sign in ("pos", "neg")))


@torch.no_grad()
def test_sam_decodes_tokens_to_the_same_logits(golden, case, small_sam):
    tokens = decoder_tokens(case, small_sam)
    decoded = small_sam.decode_all(case.features("query", version=1), tokens)
    logits, quality = small_sam.select(decoded, fallback=True)
    found = {
        "sparse": tokens,
        "dense_pe_s": small_sam.dense_position()[:, ::8, ::8, ::8],
        "low_res": logits,
        "iou": quality,
        "logits512_avg128": F.avg_pool2d(resized(logits), 4),
        "logits512_stride4": resized(logits)[..., ::4, ::4],
    }
    assert_close(found, golden.tensors("sam1", "decode/"))


@torch.no_grad()
def test_sam2_decodes_tokens_to_the_same_logits_and_replaces_the_unstable_ones(golden, case, sam2):
    tokens = decoder_tokens(case, sam2)
    decoded = sam2.decode_all(case.features("query", version=2), tokens)
    logits, quality = sam2.select(decoded, fallback=True)
    found = {
        "sparse_s": tokens[:, ::5],
        "all4_low_res_stride4": decoded.logits[..., ::4, ::4],
        "all4_iou": decoded.quality,
        "obj_score": decoded.object_logit,
        "low_res_selected": logits,
        "iou_selected": quality,
        "logits512_avg128": F.avg_pool2d(resized(logits), 4),
    }
    assert_close(found, golden.tensors("sam2_image", "decode/"))


@torch.no_grad()
def run(case, model: DcSam, samples: list[int]) -> Weights:
    """From images to masks: what the files hold."""
    query, support = case.image("query_img")[samples], case.image("support_img")[samples]
    starts: list[Tensor] = []
    refined: list[Tensor] = []
    seen: list[EncodedImages] = []
    learned: list[Support] = []
    refine = model.generator.refine

    def note(branches, prompts, *others):
        starts.extend(prompts)
        refined.extend(refine(branches, prompts, *others))
        return refined

    masks = case.support_masks[samples][:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.generator, "refine", note)
        patch.setattr(model, "encode", kept(model.encode, seen))
        patch.setattr(model, "encode_support", kept(model.encode_support, learned))
        prediction = both_steps(model, query, support[:, None], masks)
    [support], [_, images] = learned, seen
    branches = support.branches
    pseudo = (prediction.pseudo_logits > 0).float().unsqueeze(1)
    return {
        "pos1": branches[0].prompts,
        "neg1": branches[1].prompts,
        **summaries("logits1", prediction.pseudo_logits),
        "pre_mask_nearest64": F.interpolate(pseudo, (64, 64), mode="nearest"),
        "pos2": refined[0],
        "neg2": refined[1],
        **summaries("logits", prediction.logits),
        # with SAM 1 the release's decoder adds E_pos and E_neg in place, to the tokens that it
        # then refines
        "protos_mutated_by_decode": (starts[0] - branches[0].prompts).abs().max(),
        **encoded(images.sam),
    }


def kept(function: Callable, results: list) -> Callable:
    """The same function, whose results are kept."""

    def call(*arguments, **named):
        results.append(function(*arguments, **named))
        return results[-1]

    return call


def encoded(features: SegmenterFeatures) -> Weights:
    """What the files hold of images that SAM or SAM 2 has encoded."""
    if not features.levels:
        return {"query_sam_s": features.embedding[:, ::8, ::4, ::4]}
    fine, middle = features.levels
    return {
        "image_embed_s": features.embedding[:, ::8, ::4, ::4],
        "hr0_s": fine[:, ::8, ::16, ::16],
        "hr1_s": middle[:, ::8, ::8, ::8],
    }


@pytest.mark.parametrize(("file", "model"), [("sam1", "sam_model"), ("sam2_image", "sam2_model")])
@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_from_images_to_masks(batch, file, model, golden, case, request, monkeypatch):
    """In a batch, heads see masks as in the release. Some files hold encoded queries, too."""
    if batch > 1:
        monkeypatch.setattr(cyclic_attention, "cyclic_consistency", released_pairing)
    expected = golden.tensors(file, "e2e_b1_0/" if batch == 1 else "e2e_b2/")
    found = run(case, request.getfixturevalue(model), case.samples[:batch])
    images, others = split(found, ENCODED)
    held = {name: value for name, value in images.items() if name in expected}
    assert_agrees(others | held, expected, AFTER_THE_MASK)


@torch.no_grad()
def test_sam_encodes_images_alike(golden, case, small_sam):
    found = encoded(small_sam.encode(case.image("query_img")))
    assert_close(found, split(golden.tensors("sam1", "e2e_b2/"), ENCODED)[0])
