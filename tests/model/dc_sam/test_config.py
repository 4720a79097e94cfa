from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UsageError
from model.backbones.backbone import BUILDERS
from model.dc_sam.builder import build_dc_sam
from model.dc_sam.config import DcSamOptions
from model.dc_sam.prompt_generator import PAPER, RELEASE_SAM1, RELEASE_SAM2
from model.sam.sam1 import Sam
from model.sam.sam2 import Sam2
from model.sam.variants import build_segmenter
from tests.helpers import tiny_model


@pytest.mark.parametrize("version", [1, 2])
def test_random_weights_need_no_files(version: int, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a file was looked for")

    monkeypatch.setattr("model.sam.variants.read_weights", refuse)
    monkeypatch.setattr("model.backbones.backbone.read_weights", refuse)
    model = tiny_model(version)
    assert (model.backbone.name, model.segmenter.name) == ("tiny", "tiny")


def test_options_reach_the_generator():
    generator = tiny_model(num_query=7, negative_branch=False, cyclic=False).generator
    assert generator.negative is None
    assert generator.positive.query.num_embeddings == 7
    assert not generator.positive.support_attention.cyclic
    assert not generator.positive.query_attention.cyclic
    assert not tiny_model(segmenter_fusion=False).generator.segmenter_fusion
    for options in ({"prior": True}, {"fusion": "prior"}):
        assert tiny_model(**options).generator.fusion == "prior"
    assert tiny_model(position="sam").position == "sam"


@pytest.mark.parametrize(("version", "release"), [(1, RELEASE_SAM1), (2, RELEASE_SAM2)])
def test_the_wiring_of_the_release_depends_on_the_segmenter(version: int, release: object):
    assert tiny_model(version, wiring="release").generator.wiring == release
    assert tiny_model(version).generator.wiring == PAPER


@pytest.mark.parametrize("version", [1, 2])
def test_a_segmenter_is_read_back_from_half_precision(version: int, tmp_path: Path):
    state = build_segmenter(version, "tiny", None).official.state_dict()
    halves = {name: value.bfloat16().contiguous() for name, value in state.items()}
    save_file(halves, tmp_path / "tiny.safetensors")

    loaded = build_segmenter(version, "tiny", tmp_path / "tiny.safetensors").official.state_dict()

    for name, value in loaded.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, halves[name].float())


def test_a_file_of_another_segmenter_or_none_is_named(tmp_path: Path):
    path = tmp_path / "sam.safetensors"
    with pytest.raises(UsageError, match=r"no such weights file: .*sam\.safetensors"):
        build_segmenter(1, "tiny", path)
    save_file(build_segmenter(1, "tiny", None).official.state_dict(), path)
    with pytest.raises(UsageError, match=r"sam\.safetensors does not fit"):
        build_segmenter(2, "tiny", path)


def test_a_header_holds_names_of_files_and_the_folder_of_weights_says_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = DcSamOptions(
        sam_weights=Path("/home/me/sam.pth"), backbone_weights=Path("/home/me/net.pth")
    )
    stored = options.to_json()
    assert (stored["sam_weights"], stored["backbone_weights"]) == ("sam.pth", "net.pth")
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    for name in ("sam.pth", "/home/me/sam.pth"):  # older headers hold paths
        read = DcSamOptions.from_json({**stored, "sam_weights": name}, "last.safetensors")
        assert read.sam_weights == tmp_path / "sam.pth"
        assert read.backbone_weights == tmp_path / "net.pth"
    assert DcSamOptions.from_json(DcSamOptions().to_json(), "last") == DcSamOptions()


def test_usual_options_have_no_problems():
    assert DcSamOptions().problems() == []
    assert DcSamOptions(sam_version=2).problems() == []
    assert DcSamOptions(backbone="tiny", sam_model="tiny", image_size=128).problems() == []
    assert DcSamOptions(backbone="dinov2_b_reg", prior=True).problems() == []


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
    (problem,) = DcSamOptions(**options).problems()
    assert words in problem


def test_all_problems_are_reported_together():
    problems = DcSamOptions(
        backbone="dinov2_b",
        sam_model="nothing",
        segmenter_fusion=False,
        num_query=0,
        image_size=33,
        random_weights=True,
        sam_weights=Path("sam.pth"),
    ).problems()
    words = (
        "--sam_model",
        "--backbone dinov2_b",
        "--num_query",
        "--image_size",
        "--random_weights",
    )
    assert [sum(word in problem for problem in problems) for word in words] == [1] * 5
    assert len(problems) == 5


def test_the_largest_official_segmenter_is_the_default():
    assert DcSamOptions().segmenter == "vit_h"
    assert DcSamOptions(sam_version=2).segmenter == "sam2.1_hiera_l"
    assert DcSamOptions(sam_model="vit_b").segmenter == "vit_b"


@pytest.mark.parametrize("backbone", sorted(BUILDERS))
@pytest.mark.parametrize(("version", "sam_model"), [(1, "vit_h"), (2, "sam2.1_hiera_l")])
def test_a_shrunk_model_has_the_classes_of_the_whole_one(
    backbone: str, version: int, sam_model: str
):
    with torch.device("meta"):
        whole = BUILDERS[backbone]({})
    prior = {"fusion": "prior"} if whole.middle_channels == 0 else {}
    model = build_dc_sam(
        DcSamOptions(
            backbone=backbone, sam_version=version, sam_model=sam_model, shrunk=True, **prior
        )
    )
    assert type(model.backbone.network) is type(whole)
    assert type(model.segmenter) is (Sam2 if version == 2 else Sam)
    assert (model.segmenter.name, model.image_size) == (sam_model, 512)
    assert sum(parameter.numel() for parameter in model.parameters()) < 5e6
    with torch.no_grad():
        images = model.encode(torch.randn(2, 3, 64, 64))
        support = model.encode_support(images[1:], torch.ones(1, 1, 64, 64))
        assert model.predict(images[:1], support).logits.isfinite().all()


def test_a_shrunk_model_takes_no_files():
    (problem,) = DcSamOptions(shrunk=True, sam_weights=Path("sam.pth")).problems()
    assert "--shrunk leaves no use for" in problem
