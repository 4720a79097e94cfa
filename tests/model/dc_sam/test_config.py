from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UsageError
from model.dc_sam.config import (
    ModelOptions,
    build_model,
    build_segmenter,
    frozen_fingerprint,
    learnable_weights,
    load_learnable,
)
from model.dc_sam.network import DcSam
from model.dc_sam.prompt_generator import PAPER, RELEASE_SAM1, RELEASE_SAM2


def build(seed: int = 0, **options) -> DcSam:
    """A tiny model with seeded weights."""
    defaults = {"backbone": "tiny", "sam_model": "tiny", "random_weights": True, "image_size": 128}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(ModelOptions(**defaults | {"num_query": 5} | options))


def copied_weights(model: DcSam) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in learnable_weights(model).items()}


@pytest.mark.parametrize("version", [1, 2])
def test_random_weights_need_no_files(version: int, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a file was looked for")

    monkeypatch.setattr("model.dc_sam.config.read_weights", refuse)
    monkeypatch.setattr("model.backbones.backbone.read_weights", refuse)
    model = build(sam_version=version)
    assert (model.backbone.name, model.segmenter.name) == ("tiny", "tiny")


def test_options_reach_the_generator():
    generator = build(num_query=7, negative_branch=False, cyclic=False).generator
    assert generator.negative is None
    assert generator.positive.query.num_embeddings == 7
    assert not generator.positive.support_attention.cyclic
    assert not generator.positive.query_attention.cyclic
    assert not build(segmenter_fusion=False).generator.segmenter_fusion
    assert build(prior=True).generator.fusion == build(fusion="prior").generator.fusion == "prior"
    assert build(position="sam").position == "sam"


@pytest.mark.parametrize(("version", "release"), [(1, RELEASE_SAM1), (2, RELEASE_SAM2)])
def test_the_wiring_of_the_release_depends_on_the_segmenter(version: int, release: object):
    assert build(sam_version=version, wiring="release").generator.wiring == release
    assert build(sam_version=version).generator.wiring == PAPER


def test_learnable_weights_come_back():
    source, target = build(seed=0), build(seed=1)
    weights = copied_weights(source)
    assert any(weights[n].ne(p).any() for n, p in learnable_weights(target).items())

    load_learnable(target, weights, "last.safetensors")

    assert all(torch.equal(p, weights[n]) for n, p in learnable_weights(target).items())


@pytest.mark.parametrize(
    ("options", "count", "name"),
    [
        # the queries and their positions in two branches
        ({"num_query": 6}, 4, "generator.negative.query.weight"),
        # eight, of which two are the fusions whose inputs double
        ({"segmenter_fusion": False}, 2, "generator.negative.fuse.weight"),
        ({"prior": True}, 3, "generator.negative.fuse.weight"),
    ],
)
def test_weights_of_another_configuration_are_refused(options: dict, count: int, name: str):
    model, other = build(seed=0), build(seed=1, **options)
    before = copied_weights(model)
    with pytest.raises(UsageError, match=f"^best.safetensors .*{count} tensors .* {name}$"):
        load_learnable(model, copied_weights(other), Path("best.safetensors"))
    assert all(torch.equal(p, before[n]) for n, p in learnable_weights(model).items())


def test_weights_of_fewer_branches_are_refused_both_ways():
    two, one = build(), build(negative_branch=False)
    for model, weights in ((two, copied_weights(one)), (one, copied_weights(two))):
        with pytest.raises(UsageError, match=r"another configuration.*generator\.negative\."):
            load_learnable(model, weights, "file")


@pytest.mark.parametrize("version", [1, 2])
def test_a_segmenter_is_read_back_from_half_precision(version: int, tmp_path: Path):
    torch.manual_seed(version)
    source = build_segmenter(version, "tiny", None)
    halves = {n: v.bfloat16().contiguous() for n, v in source.official.state_dict().items()}
    save_file(halves, tmp_path / "tiny.safetensors")

    loaded = build_segmenter(version, "tiny", tmp_path / "tiny.safetensors")

    for name, value in loaded.official.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, halves[name].float())


def test_a_segmenter_refuses_the_file_of_another_one(tmp_path: Path):
    torch.manual_seed(0)
    source = build_segmenter(1, "tiny", None)
    path = tmp_path / "sam.safetensors"
    save_file(source.official.state_dict(), path)
    with pytest.raises(UsageError, match=r"sam\.safetensors"):
        build_segmenter(2, "tiny", path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"nothing\.safetensors"):
        build_segmenter(1, "tiny", tmp_path / "nothing.safetensors")


def test_the_fingerprint_tells_frozen_weights_apart():
    model = build(seed=0)
    same, other = build(seed=0), build(seed=1)
    assert frozen_fingerprint(model) == frozen_fingerprint(same) != frozen_fingerprint(other)

    with torch.no_grad():
        for parameter in same.generator.parameters():
            parameter.add_(1)
    assert frozen_fingerprint(model) == frozen_fingerprint(same)

    for part in (same.backbone, same.segmenter):
        before = frozen_fingerprint(same)
        with torch.no_grad():
            next(part.parameters()).add_(1)
        assert frozen_fingerprint(same) != before


def test_usual_options_have_no_problems():
    assert ModelOptions().problems() == []
    assert ModelOptions(sam_version=2).problems() == []
    assert ModelOptions(backbone="tiny", sam_model="tiny", image_size=128).problems() == []
    assert ModelOptions(backbone="dinov2_b_reg", prior=True).problems() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sam_model": "sam2.1_hiera_t"}, "--sam_model sam2.1_hiera_t is no SAM version 1"),
        ({"sam_model": "vit_b", "sam_version": 2}, "--sam_model vit_b is no SAM version 2"),
        ({"backbone": "dinov2_b"}, "add --prior"),
        ({"prior": True, "segmenter_fusion": False}, "--no_sam_fusion"),
        ({"fusion": "prior", "segmenter_fusion": False}, "--no_sam_fusion"),
        ({"num_query": 0}, "--num_query must be at least 1, not 0"),
        ({"image_size": 100}, "--image_size must be a multiple of 32, not 100"),
        ({"image_size": 0}, "--image_size"),
        ({"random_weights": True, "sam_weights": Path("sam.pth")}, "--random_weights"),
        ({"random_weights": True, "backbone_weights": Path("net.pth")}, "--random_weights"),
    ],
    ids=str,
)
def test_one_problem_is_reported(options: dict, words: str):
    (problem,) = ModelOptions(**options).problems()
    assert words in problem


def test_all_problems_are_reported_together():
    options = ModelOptions(
        backbone="dinov2_b",
        sam_model="nothing",
        segmenter_fusion=False,
        num_query=0,
        image_size=33,
        random_weights=True,
        sam_weights=Path("sam.pth"),
    )
    problems = options.problems()
    for words in (
        "--sam_model nothing",
        "--backbone dinov2_b",
        "--num_query",
        "--image_size",
        "--random_weights",
    ):
        assert sum(words in problem for problem in problems) == 1
    assert len(problems) == 5


def test_the_largest_official_segmenter_is_the_default():
    assert ModelOptions().segmenter == "vit_h"
    assert ModelOptions(sam_version=2).segmenter == "sam2.1_hiera_l"
    assert ModelOptions(sam_model="vit_b").segmenter == "vit_b"
