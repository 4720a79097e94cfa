import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.cli import to_json
from common.errors import UsageError
from common.files import ROOT
from common.sums import read_sums
from model.checkpoint import load_method
from model.dc_sam.config import DcSamOptions
from tools import publish as release

CPU = torch.device("cpu")


def write_run(folder: Path, fold: int, miou: float, **model: object) -> Path:
    """A run's folder with a checkpoint, and an evaluation with these metrics."""
    facts = {
        "model": {**to_json(DcSamOptions(backbone="resnet50")), **model},
        "data": {"benchmark": "pascal", "datapath": "/home/me/data", "fold": fold, "nshot": 1},
        "training": {"epochs": 100, "lr": 2e-4},
        "frozen": "0123456789abcdef",
        "training_episodes": "fe" * 32,
        "metrics": {"update": 7, "held_out_miou": 61.25},
    }
    for name in ("last", "best"):
        save_checkpoint(folder / f"{name}.safetensors", {"w": torch.full((2,), fold)}, facts)
    results = {
        "benchmark": "pascal",
        "fold": fold,
        "shots": 1,
        "exposure": "strict",
        "protocol": "pascal",
        "episodes": 1000,
        "seed": 0,
        "miou": miou,
        "fb_iou": miou + 10,
        "episode_hash": "ab" * 32,
        "checkpoint": str(folder / "last.safetensors"),
        "checkpoint_version": read_facts(folder / "last.safetensors")["version"],
    }
    place = folder / "eval_last" / "results.json"
    place.parent.mkdir()
    place.write_text(json.dumps(results))
    return folder


@pytest.fixture
def packed(tmp_path: Path, script: Callable) -> Path:
    runs = [write_run(tmp_path / str(fold), fold, 70.0 + fold) for fold in (0, 1)]
    flags = ("--output", tmp_path / "released", "--row", "table3 resnet50 pascal")
    assert script(release, *runs, *flags).code == 0
    return tmp_path / "released"


def test_a_release_holds_weights_card_and_hashes(packed: Path, script: Callable):
    names = ["README.md", "SHA256SUMS", "pascal_fold0.safetensors", "pascal_fold1.safetensors"]
    assert sorted(path.name for path in packed.iterdir()) == names
    assert read_weights(packed / "pascal_fold1.safetensors")["w"].tolist() == [1, 1]
    assert (packed / "pascal_fold1.safetensors").stat().st_mode & 0o044  # others may read it
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=packed, check=True)


def test_the_card_tells_metrics_configuration_and_licences(packed: Path):
    card = (packed / "README.md").read_text()
    for fact in (
        "table3 resnet50 pascal",
        "| pascal_fold0.safetensors | pascal | pascal | 0 | strict | 1 | 1000 | 0 | 70.0 | 80.0 | "
        f"{'ab' * 32} |",
        "| mean |  |  |  | strict | 1 |  |  | 70.5 | 80.5 |  |",
        "`fefefefefefefefe`",
        "`0123456789abcdef`",
        "after 7 updates 61.2 mIoU",
        "| model backbone | resnet50 |",
        "| training epochs | 100 |",
        "Segment Anything (Meta AI): Apache License 2.0",
        "torchvision's weights, BSD 3-Clause License",
        "PASCAL VOC 2012 and SBD: their own terms",
    ):
        assert fact in card
    assert "/home/me" not in card


@pytest.mark.parametrize(
    ("model", "present", "absent"),
    [
        (
            {"backbone": "dinov2_b", "prior": True, "sam_version": 2},
            ("DINOv2", "SAM 2 (Meta"),
            ("torchvision",),
        ),
        (
            {"backbone": "tiny", "sam_model": "tiny"},
            ("tiny SAM: trained within", "tiny backbone: trained within"),
            ("torchvision", "DINOv2"),
        ),
    ],
)
def test_licences_are_those_of_the_parts(
    tmp_path: Path, script: Callable, model: dict, present: tuple, absent: tuple
):
    run = write_run(tmp_path / "run", 0, 50.0, **model)
    about = tmp_path / "about.md"
    about.write_text("It finds *stars*.\n")
    flags = ("--about", about, "--generated", "--output", tmp_path / "out")
    assert script(release, run, *flags).code == 0
    card = (tmp_path / "out" / "README.md").read_text()
    for text in (*present, "It finds *stars*.", "trained on generated (pascal layout)"):
        assert text in card
    for text in (*absent, "PASCAL VOC"):
        assert text not in card


def test_a_released_model_can_be_loaded(trained: Path, tmp_path: Path, script: Callable):
    flags = ("--output", tmp_path / "out", "--which", "last")
    outcome = script(release, trained.parent, *flags)
    assert outcome.code == 0
    assert "has no results.json" in outcome.error
    assert "Not evaluated." in (tmp_path / "out" / "README.md").read_text()
    model, facts = load_method(tmp_path / "out" / "pascal_fold0.safetensors", CPU)
    before, _ = load_method(trained, CPU)
    assert facts == read_facts(trained)
    for one, two in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, two)


def test_half_precision_halves_the_file(trained: Path, tmp_path: Path, script: Callable):
    outcome = script(release, trained.parent, "--output", tmp_path / "out", "--half")
    assert outcome.code == 0
    path = tmp_path / "out" / "pascal_fold0.safetensors"
    assert path.stat().st_size < 0.6 * trained.stat().st_size
    assert path.stat().st_mode & 0o044
    assert "half precision" in (tmp_path / "out" / "README.md").read_text()
    model, _ = load_method(path, CPU)
    before, _ = load_method(trained.with_name("last.safetensors"), CPU)
    for one, two in zip(model.parameters(), before.parameters(), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)
    assert script(release, "--verify", tmp_path / "out").code == 0


def test_results_of_other_weights_are_left_out(tmp_path: Path, script: Callable):
    run = write_run(tmp_path / "run", 0, 50.0)
    path = run / "eval_last" / "results.json"
    results = json.loads(path.read_text())
    for number, change in enumerate(
        ({"checkpoint": "run/best.safetensors"}, {"checkpoint_version": "older"}, {"weights": "00"})
    ):
        place = run / f"eval_{number}" / "results.json"
        place.parent.mkdir()
        place.write_text(json.dumps({**results, **change, "miou": 11.1}))
    assert script(release, run, "--output", tmp_path / "out").code == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "50.0" in card
    assert "11.1" not in card


def test_video_scores_are_told(tmp_path: Path, script: Callable):
    run = write_run(tmp_path / "run", 0, 50.0)
    scores = {"benchmark": "icvos", "first_frame": "prompt", "items": 3, "j": 70.0, "f": None}
    scores |= {"protocol": "icvos", "exposure": "strict"}
    results = {**scores, "jf": 71.52, "checkpoint": "last.safetensors"}
    (run / "eval_last" / "results.json").write_text(json.dumps(results))
    assert script(release, run, "--output", tmp_path / "out").code == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "| pascal_fold0.safetensors | icvos | icvos | prompt | strict | 3 | 71.5 | 70.0 | none |"
        in card
    )


def test_what_is_no_row_is_refused_and_leaves_nothing(tmp_path: Path, script: Callable):
    one = write_run(tmp_path / "one", 0, 50.0)
    other = write_run(tmp_path / "other", 1, 50.0, num_query=3)
    again = write_run(tmp_path / "again", 0, 50.0)
    output = tmp_path / "out"
    for runs, message in (
        ((one, other), "differs in num_query"),
        ((one, again), "a second pascal_fold0"),
        ((tmp_path / "none",), "no such checkpoint"),
    ):
        outcome = script(release, *runs, "--output", output)
        assert outcome.code == 2
        assert message in outcome.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "one", "other"]
    output.mkdir()
    assert "is there already" in script(release, one, "--output", output).error
    (one / "eval_last" / "results.json").write_text("[]")
    outcome = script(release, one, "--output", tmp_path / "new")
    assert "eval_last/results.json does not hold results" in outcome.error


@pytest.fixture
def released(trained: Path, tmp_path: Path, script: Callable) -> Path:
    """The release of a model that can be built here."""
    assert script(release, trained.parent, "--output", tmp_path / "out").code == 0
    return tmp_path / "out"


def test_a_whole_release_is_built_and_run(released: Path, script: Callable):
    outcome = script(release, "--verify", released)
    assert outcome.code == 0
    assert "2 files are as SHA256SUMS says" in outcome.output
    assert "1 model was built and run on noise" in outcome.output


@pytest.mark.parametrize("name", ["tiny", "tiny-video"])
def test_what_is_shipped_can_be_used(script: Callable, name: str):
    outcome = script(release, "--verify", ROOT / "checkpoints" / name)
    assert outcome.code == 0, outcome.error


def change(folder: Path, edit: Callable[[dict, dict], object]) -> None:
    """Write a release's checkpoint with other facts or weights, and the hashes of that."""
    path = folder / "pascal_fold0.safetensors"
    facts, weights = read_facts(path), read_weights(path)
    edit(facts, weights)
    save_checkpoint(path, weights, facts)
    release.write_sums(folder, ["README.md", path.name])


def another_shape(_: dict, weights: dict) -> None:
    weights["generator.positive.norm.bias"] = torch.zeros(7)


def another_name(_: dict, weights: dict) -> None:
    weights["generator.unknown"] = weights.pop("generator.positive.norm.bias")


def no_number(_: dict, weights: dict) -> None:
    weights["generator.positive.norm.bias"][3] = float("nan")


def too_large(_: dict, weights: dict) -> None:
    weights["generator.positive.norm.bias"][:] = 3e38


def absent_backbone(facts: dict, _: dict) -> None:
    facts["model"]["backbone"] = "resnet50"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (another_shape, "generator.positive.norm.bias"),
        (another_name, "generator.positive.norm.bias"),
        (no_number, "numbers that are not finite in: generator.positive.norm.bias"),
        (too_large, "gives logits that are not finite"),
        (absent_backbone, "resnet50_v2.pth"),
    ],
)
def test_a_model_that_cannot_be_used_is_told(
    released: Path, script: Callable, edit: Callable, message: str
):
    change(released, edit)
    outcome = script(release, "--verify", released)
    assert outcome.code == 1
    assert "pascal_fold0.safetensors" in outcome.error
    assert message in outcome.error
    assert outcome.error.count("\n") == 1


def cut(folder: Path) -> None:
    path = folder / "pascal_fold1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def foreign(folder: Path) -> None:
    path = folder / "pascal_fold1.safetensors"
    path.write_bytes(path.read_bytes().replace(b"dc-sam 1", b"dc-sam 9"))
    release.write_sums(folder, [p.name for p in folder.iterdir() if p.name != "SHA256SUMS"])


def escape(folder: Path) -> None:
    (folder.parent / "outside").write_text("x")
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  ../outside\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "pascal_fold1.safetensors differs from what SHA256SUMS"),
        (foreign, "no 'dc-sam 1' in its header"),
        (escape, "SHA256SUMS, line 4, is not the hash and name of one file"),
        (lambda f: (f / "README.md").unlink(), "README.md is missing"),
        (lambda f: (f / "extra.txt").write_text(""), "extra.txt is not in SHA256SUMS"),
        (lambda f: (f / ".hidden").write_text(""), ".hidden is not in SHA256SUMS"),
        (lambda f: (f / "SHA256SUMS").unlink(), "cannot read"),
        (lambda f: (f / "SHA256SUMS").write_text(""), "must list README.md and at least one"),
    ],
)
def test_a_damaged_release_is_told(packed: Path, script: Callable, damage: Callable, message: str):
    damage(packed)
    outcome = script(release, "--verify", packed)
    assert outcome.code == 1
    assert message in outcome.error


def test_changed_weights_are_not_loaded(packed: Path):
    assert len(read_sums(packed)) == 3
    cut(packed)
    with pytest.raises(UsageError, match="differs from what SHA256SUMS beside it says"):
        read_facts(packed / "pascal_fold1.safetensors")


def test_wrong_use_is_told(tmp_path: Path, script: Callable):
    assert script(release).code == 2
    assert script(release, tmp_path).code == 2
    assert script(release, tmp_path, "--verify", tmp_path).code == 2
    outcome = script(release, "--verify", tmp_path / "none")
    assert outcome.code == 2
    assert "no such folder" in outcome.error
