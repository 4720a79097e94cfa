"""From files of pictures and official weights to masks at a picture's own size, as published."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from common.errors import UsageError
from common.geometry import Geometry
from model.backbones.dinov3 import periods
from model.insid3.builder import build_insid3
from model.insid3.config import Insid3Options
from model.insid3.network import Insid3
from model.insid3.segmentation import Thresholds
from model.official import OFFICIAL
from model.predictor import InContextSegmenter
from tests.golden.golden_set import assert_close
from tests.golden.insid3.insid3_case import Insid3Case, bits
from tests.golden.method_set import assert_changes_are_seen

TOLERANCES = {"": 1e-5}


def method_of(case: Insid3Case) -> Insid3:
    thresholds = Thresholds(case.facts["tau"], case.facts["merge_threshold"])
    return Insid3(case.encoder, case.side, case.facts["svd_components"], thresholds)


@pytest.fixture
def pictures(insid3_case) -> dict[str, np.ndarray]:
    # the published names of the two pictures are api_ref and api_tgt
    facts = insid3_case.facts["api"]
    shown = {}
    for name, short in (("reference", "api_ref"), ("target", "api_tgt")):
        scene = insid3_case.scene(short, facts[name], tuple(facts[f"{name}_hw"]))
        values = (128 + facts["gain"] * scene[0]).round().clamp(0, 255)
        shown[name] = values.permute(1, 2, 0).byte().numpy()
    return shown


def test_pictures_of_any_size_are_labelled_as_by_the_published_api(insid3_case, pictures):
    case = insid3_case
    expected = case.golden.tensors("insid3_api")
    expected = {n: v for n, v in expected.items() if not n.startswith("small_mask")}
    facts, geometry = case.facts["api"], Geometry(case.side)
    marked = case.mask(facts["reference"]["mask"], tuple(facts["reference_hw"])).bool().numpy()
    method = method_of(case)
    segmenter = InContextSegmenter(method)
    concept = segmenter.learn(pictures["reference"], marked)
    result, _ = segmenter.segment(pictures["target"], concept)

    images = {name: geometry.image(pixels) for name, pixels in pictures.items()}
    (found,) = method.find(method.encode(images["target"][None]), concept.support)
    raw = torch.from_numpy(pictures["reference"]).permute(2, 0, 1).float() / 255
    tensor = F.interpolate(raw[None], (case.side,) * 2, mode="bilinear", align_corners=False)
    values = {
        "reference_s8": images["reference"][:, ::8, ::8],
        "target_s8": images["target"][:, ::8, ::8],
        "tensor_image_s8": tensor[0, :, ::8, ::8],
        "reference_mask_bits": bits(geometry.mark(marked)),
        "result_bits": bits(torch.from_numpy(result)),
        "small": found.mask.view(case.grid),
        "uint8_reference_s16": torch.from_numpy(pictures["reference"][::16, ::16]),
    }
    assert_close(values, expected, TOLERANCES)
    assert_changes_are_seen(expected, TOLERANCES)
    assert int(result.sum()) == case.facts["results"]["api"]["pixels"]
    assert list(result.shape) == case.facts["results"]["api"]["shape"]


def write_official(case: Insid3Case, path) -> None:
    """A file of the whole ViT-S as Meta saves it."""
    weights = {}
    for name, (shape, _) in case.golden.json("state_dict.json")["dinov3_vits16"].items():
        weights[name] = case.weight(name, shape)
    torch.save(weights, path)


def test_an_official_file_of_the_smallest_size_is_read(insid3_case, tmp_path, monkeypatch):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    options = Insid3Options(size="small", image_size=128)
    assert options.files() == ("dinov3_s",)
    with pytest.raises(UsageError, match="dinov3_s"):
        build_insid3(options)
    (meta,) = OFFICIAL["dinov3_s"].other_names
    write_official(insid3_case, tmp_path / meta)
    method = build_insid3(options)
    network = method.encoder.transformer
    assert torch.equal(network.cls_token, insid3_case.weight("cls_token", [1, 1, 384]))
    assert torch.equal(
        network.blocks[11].attn.v_bias, insid3_case.weight("blocks.11.attn.qkv.bias", [1152])[768:]
    )
    assert torch.equal(network.rope.periods, periods(exact=True))

    picture = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    cells = method.encode(picture).cells
    debiased = method.debias(cells)
    (kept,) = (tmp_path / "insid3_basis").iterdir()
    written = kept.stat().st_mtime_ns
    torch.testing.assert_close(build_insid3(options).debias(cells), debiased)
    assert kept.stat().st_mtime_ns == written
