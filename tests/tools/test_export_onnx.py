import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.cli import run_script
from common.files import ROOT
from data.synthetic.drawing import random_scene
from data.synthetic.style import BENCHMARK_PAIRS
from model.checkpoint import load_method
from model.dc_sam.export_steps import STEPS
from model.predictor import InContextSegmenter
from tests.helpers import both_steps, save_tiny_checkpoint
from tools import export_onnx as export
from tools.export.graphs import largest_difference
from tools.export.runtimes import OnnxGraph
from tools.export.steps import Example, is_steady, random_episode

SIZE = 128
SHIPPED = ROOT / "checkpoints" / "tiny-video" / "coco_mask_tube.safetensors"
PAGE = ROOT / "docs" / "export.md"
FAMILIES = [{"sam_version": v, "position": p} for v in (1, 2) for p in ("sine", "sam")]
VARIANTS = [
    *({"sam_version": v, "wiring": "release"} for v in (1, 2)),
    {"fusion": "prior"},
    {"negative_branch": False, "segmenter_fusion": False, "sam_version": 2},
]


def checkpoint(folder: Path, **options) -> Path:
    """A tiny model whose prompt generator is not trained."""
    tiny = {"random_weights": False, "image_size": SIZE, "num_query": 4, **options}
    version = tiny.pop("sam_version", 1)
    return save_tiny_checkpoint(folder / "tiny.safetensors", version, **tiny)


def run_export(*flags: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export.py", *map(str, flags)])
        return run_script(export.main)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graphs of the shipped model with SAM 2."""
    folder = tmp_path_factory.mktemp("export")
    assert run_export("--ckpt", SHIPPED, "--output", folder / "exported") == 0
    return folder


@pytest.mark.parametrize("options", FAMILIES + VARIANTS, ids=str)
def test_the_steps_are_the_model(options: dict, tmp_path: Path):
    model, _ = load_method(checkpoint(tmp_path, **options), torch.device("cpu"))
    steps = {name: step(model, SIZE) for name, step in STEPS.items()}
    shots = 1 if "wiring" in options else 2
    with torch.no_grad():
        episode = random_episode(steps, SIZE, shots, torch.Generator().manual_seed(0))
        noise = torch.randn(shots + 1, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        masks = episode["learn"].given["masks"]
        whole = both_steps(model, noise[-1], noise[:-1].transpose(0, 1), masks[None])
    found = episode["decode"].expected
    torch.testing.assert_close(found["logits"], whole.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found["quality"], whole.quality, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        episode["refine"].given["logits"], whole.pseudo_logits, atol=1e-4, rtol=1e-4
    )


def test_says_what_goes_in_and_what_comes_out(exported: Path):
    facts = json.loads((exported / "exported" / "model.json").read_text())
    assert facts["image_size"] == SIZE
    assert facts["opset"] >= 18
    assert facts["method"] == "dc_sam"
    assert max(facts["differences"][export.FLOAT].values()) <= 1e-3
    names = {"model.json", *(graph["file"] for graph in facts["graphs"].values())}
    assert {path.name for path in (exported / "exported").iterdir()} == names
    graphs = facts["graphs"]
    assert graphs["encode"]["inputs"] == {"image": [1, 3, SIZE, SIZE]}
    assert graphs["learn"]["inputs"]["masks"] == [1, SIZE, SIZE]
    assert graphs["learn"]["outputs"]["tokens"] == [1, 2 * 10, 80]
    assert graphs["refine"]["outputs"]["tokens"] == [1, 2 * 10, 80]
    assert graphs["decode"]["outputs"]["logits"] == [1, SIZE, SIZE]
    assert [path.name for path in exported.iterdir() if path.name.startswith(".")] == []


SIZES = {"photo": (97, 211), "larger": (427, 640), "smaller": (61, 50), "turned": (200, 133)}
"""Heights and widths of the pictures on which the page's program runs, one after the other."""


@pytest.fixture(scope="module")
def drawn(exported: Path) -> dict[str, Path]:
    """Folders with what the page's program reads: scenes with a class in common, of odd sizes."""
    random = np.random.default_rng(5)
    target, *others = BENCHMARK_PAIRS[:20]
    folders = {}
    for name, (height, width) in SIZES.items():
        folders[name] = folder = exported / name
        folder.mkdir()
        (folder / "exported").symlink_to(exported / "exported")
        for file in ("dog", "photo"):
            instances, drawing = random_scene(random, 128, target, others)
            labels = [n for n, i in enumerate(instances, 1) if (i.shape, i.texture) == target]
            mask = Image.fromarray(np.isin(drawing.instances, labels))
            size = (width, height) if file == "photo" else (height + 3, width)
            picture = Image.fromarray(drawing.image).resize(size, Image.Resampling.BILINEAR)
            exif = picture.getexif()
            exif[0x0112] = 6 if (name, file) == ("turned", "photo") else 1
            picture.save(folder / f"{file}.png", exif=exif)
            mask.resize(size).save(folder / f"{file}_mask.png")
    speck = np.zeros((1111, 999), bool)  # less than a pixel of the network's
    speck[505:508, 507:509] = True
    Image.fromarray(speck).save(folders["larger"] / "dog_mask.png")
    Image.open(folders["larger"] / "dog.png").resize((999, 1111)).save(
        folders["larger"] / "dog.png"
    )
    return folders


def test_the_page_shows_a_program_that_finds_the_same_without_pytorch(drawn: dict[str, Path]):
    code, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    places = [str(folder) for folder in drawn.values()]
    alone = (
        "import os, sys\nsys.modules['torch'] = None\n"
        f"for place in {places}:\n    os.chdir(place)\n    exec({code!r})\n"
    )
    subprocess.run([sys.executable, "-c", alone], check=True, timeout=300)

    segmenter = InContextSegmenter.from_checkpoint(SHIPPED, "cpu")
    for name, folder in drawn.items():
        pictures = {path.stem: Image.open(path) for path in folder.glob("*.png")}
        concept = segmenter.learn(pictures["dog"], pictures["dog_mask"])
        expected = segmenter.segment(pictures["photo"], concept).mask
        found = np.array(pictures["found"]) > 0
        assert found.shape == expected.shape, name
        assert expected.any(), name
        overlap = (found & expected).sum() / (found | expected).sum()
        assert overlap > 0.99, (name, overlap)


def test_a_difference_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = checkpoint(tmp_path)

    def write(difference: float, folder: Path) -> export.Exported:
        (folder / "encode.onnx").touch()
        return export.Exported(differences={export.FLOAT: {"encode": difference}})

    for difference in (0.0011, float("nan")):
        monkeypatch.setattr(
            export, "write_graphs", lambda steps, shown, folder, o, d=difference: write(d, folder)
        )
        assert run_export("--ckpt", path, "--output", tmp_path / "exported") == 1
        assert "nothing is exported" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == [path]


def test_a_graph_with_other_weights_is_noticed(exported: Path):
    model, _ = load_method(SHIPPED, torch.device("cpu"))
    steps = {name: step(model, SIZE) for name, step in STEPS.items()}
    with torch.no_grad():
        model.generator.positive.norm.bias.add_(0.01)
        episode = random_episode(steps, SIZE, 1, torch.Generator().manual_seed(0))
    graph = OnnxGraph(exported / "exported" / "refine.onnx")
    difference = largest_difference(graph, [episode["refine"]])
    assert 0.009 < difference < 0.011


def test_a_close_decision_is_not_steady():
    class Cut(torch.nn.Module):
        def forward(self, given: dict) -> dict:
            return {"cut": (given["value"] > 1).float()}

    def steady(value: float) -> bool:
        given = {"value": torch.full((100,), value)}
        return is_steady(Cut(), Example(given, Cut()(given)), torch.Generator().manual_seed(0))

    assert steady(1.1)
    assert not steady(1 + 1e-6)


def test_wrong_use_is_told_in_one_line(
    exported: Path, tmp_path: Path, script, monkeypatch: pytest.MonkeyPatch
):
    outcome = script(export, "--ckpt", SHIPPED, "--output", exported / "exported")
    assert outcome.code == 2
    assert "is there already" in outcome.error
    outcome = script(export, "--nshot", "0")
    assert outcome.code == 2
    assert outcome.error.count("\n") == 2
    outcome = script(export, "--output", tmp_path / "out")
    assert outcome.code == 2
    assert "give --ckpt, the checkpoint to export, or --method" in outcome.error
    nowhere = ("--measure", "--datapath", tmp_path / "nowhere")
    outcome = script(export, "--ckpt", SHIPPED, "--output", tmp_path / "out", *nowhere)
    assert outcome.code == 2
    assert "--datapath: no such folder" in outcome.error
    released = checkpoint(tmp_path, wiring="release")
    outcome = script(export, "--ckpt", released, "--output", tmp_path / "out", "--nshot", "2")
    assert outcome.code == 2
    assert "1 reference at most" in outcome.error
    monkeypatch.setattr(export, "PACKAGES", ("onnx", "no_such_package"))
    outcome = script(export, "--ckpt", SHIPPED, "--output", tmp_path / "out")
    assert outcome.code == 2
    assert "needs no_such_package: uv pip install -r requirements-export.txt" in outcome.error


@pytest.mark.slow
@pytest.mark.parametrize("options", FAMILIES[:3] + VARIANTS, ids=str)
def test_every_variant_is_exported(options: dict, tmp_path: Path):
    shots = 1 if "wiring" in options else 2
    path = checkpoint(tmp_path, **options)
    assert run_export("--ckpt", path, "--output", tmp_path / "exported", "--nshot", shots) == 0
