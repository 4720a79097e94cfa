"""The scripts on small samples of the real benchmarks, which lie beside the repository."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

import eval_image
import predict
import train_image
from model.registry import READY

REAL = Path(__file__).parents[2] / "shared" / "real"

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images in {REAL}")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both layouts by links; the COCO sample's validation images also serve for training."""
    root = tmp_path_factory.mktemp("real")
    os.symlink(REAL / "VOC2012" / "JPEGImages", _folder(root / "VOC2012") / "JPEGImages")
    for inner in ("SegmentationClassAug", "ImageSets"):
        os.symlink(REAL / "VOC2012" / inner, root / "VOC2012" / inner)
    coco = _folder(root / "COCO2014" / "annotations").parent
    for split in ("train2014", "val2014"):
        os.symlink(REAL / "COCO2014" / "val2014", coco / split)
        os.symlink(REAL / "COCO2014" / "annotations" / "val2014", coco / "annotations" / split)
    return root


TINY = {
    "insid3": ("--size", "tiny"),
    "persam": ("--sam_model", "tiny"),
    "persam_f": ("--sam_model", "tiny"),
    "matcher": ("--size", "tiny"),
    "sansa": ("--sam_model", "tiny"),
    "segic": ("--size", "tiny"),
    "sine": ("--size", "tiny"),
}
"""Flags with which a method runs on this repository's tiny networks: nothing is said of quality."""


@pytest.mark.parametrize("method", READY)
def test_every_method_labels_photographs_and_a_video(script, tmp_path, method):
    reference = sorted((REAL / "VOC2012" / "JPEGImages").glob("*.jpg"))[0]
    width, height = Image.open(reference).size
    mark = f"box:{width // 4},{height // 4},{3 * width // 4},{3 * height // 4}"
    photographs = sorted((REAL / "COCO2014" / "val2014").glob("*.jpg"))[:3]
    clip = min((REAL / "DAVIS" / "JPEGImages" / "480p").iterdir())
    for frame in sorted(clip.iterdir())[:3]:
        os.symlink(frame, _there(tmp_path / "walk") / frame.name)

    outcome = script(
        predict,
        *("--method", method, *TINY[method], "--reference", reference, mark, "--frames"),
        *("--target", *photographs, tmp_path / "walk", "--output", tmp_path / "out"),
        *("--device", "cpu", "--presence", 0),
    )

    assert outcome.code == 0, outcome.error
    assert "expect no" in outcome.error  # useful masks; or nothing of untrained networks
    masks = tmp_path / "out" / "masks"
    for photograph in photographs:
        [path] = masks.rglob(f"{photograph.stem}.png")
        with Image.open(path) as mask:
            assert mask.size == Image.open(photograph).size
    assert len(list(masks.rglob("walk/*.png"))) == 3


def _there(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("benchmark", "trained_fold", "tested_fold"), [("pascal", 0, 0), ("coco", 2, 0)]
)
def test_training_and_evaluation_run(script, real, tmp_path, benchmark, trained_fold, tested_fold):
    data = ("--datapath", real, "--benchmark", benchmark, "--nworker", 0, "--device", "cpu")

    trained = script(
        train_image,
        *("--preset", "tiny", *data, "--fold", trained_fold, "--output", tmp_path / "run"),
        *("--max_iterations", 2, "--bsz", 2, "--validation_episodes", 4),
    )
    evaluated = script(
        eval_image,
        *("--ckpt", tmp_path / "run" / "last.safetensors", *data, "--fold", tested_fold),
        *("--test_episodes", 8, "--sheet_rows", 2, "--output", tmp_path / "scores"),
        *(() if trained_fold == tested_fold else ("--seen_classes",)),
    )

    assert (trained.code, trained.error[-300:]) == (0, trained.error[-300:])
    assert (evaluated.code, evaluated.error[-300:]) == (0, evaluated.error[-300:])
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert results["episodes"] == 8
    assert 0 <= results["miou"] <= 100
