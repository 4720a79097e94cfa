"""INSID3's graphs, and the page's program around them, give the masks of the method."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.cli import run_script
from common.files import ROOT
from data.synthetic.drawing import random_scene
from data.synthetic.style import BENCHMARK_PAIRS
from model.predictor import InContextSegmenter
from tools import export_onnx as export

PAGE = ROOT / "docs" / "export.md"
FLAGS = ("--method", "insid3", "--size", "tiny")


def run_export(*flags: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export_onnx", *map(str, flags)])
        return run_script(export.main)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graphs of INSID3 on the tiny network."""
    folder = tmp_path_factory.mktemp("insid3") / "exported"
    assert run_export(*FLAGS, "--output", folder) == 0
    return folder


def draw(folder: Path, seed: int) -> None:
    """What the page's program reads: two scenes with a class in common, of odd sizes."""
    random = np.random.default_rng(seed)
    target, *others = BENCHMARK_PAIRS[:20]
    for name, size in {"dog": (211, 97), "photo": (333, 200)}.items():
        instances, drawing = random_scene(random, 128, target, others)
        labels = [n for n, one in enumerate(instances, 1) if (one.shape, one.texture) == target]
        Image.fromarray(drawing.image).resize(size).save(folder / f"{name}.png")
        mask = Image.fromarray(np.isin(drawing.instances, labels))
        mask.resize(size).save(folder / f"{name}_mask.png")


def program() -> str:
    """The page's program for INSID3: the functions of the first one, then the second."""
    first, second = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = first.rstrip().splitlines()
    assert lines[-9].startswith("dog, _ = ")
    return "\n".join(lines[:-9]) + "\n" + second


def test_says_what_goes_in_and_what_comes_out(exported: Path):
    facts = json.loads((exported / "model.json").read_text())
    graphs = facts["graphs"]
    assert facts["method"] == "insid3"
    assert list(graphs) == ["encode", "learn", "locate"]
    assert graphs["encode"]["outputs"] == {"cells": [1, 256, 192], "debiased": [1, 256, 192]}
    assert graphs["learn"]["inputs"] == {"debiased": [1, 256, 192], "masks": [1, 128, 128]}
    assert graphs["locate"]["outputs"] == {"similarity": [256], "match": [1, 256]}
    assert all(max(some.values()) <= 1e-4 for some in facts["differences"].values())


def test_the_pages_program_finds_the_same_without_pytorch(exported: Path, tmp_path: Path):
    folders = [tmp_path / str(seed) for seed in range(4)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        (folder / "exported").symlink_to(exported)
        draw(folder, seed)
    alone = (
        "import os, sys\nsys.modules['torch'] = None\n"
        f"for place in {[str(folder) for folder in folders]}:\n"
        f"    os.chdir(place)\n    exec({program()!r})\n"
    )
    subprocess.run([sys.executable, "-c", alone], check=True, timeout=300)

    segmenter = InContextSegmenter.from_method("insid3", "cpu", size="tiny")
    for folder in folders:
        pictures = {path.stem: Image.open(path) for path in folder.glob("*.png")}
        concept = segmenter.learn(pictures["dog"], pictures["dog_mask"])
        expected = segmenter.segment(pictures["photo"], concept).mask
        found = np.array(pictures["found"]) > 0
        assert found.shape == expected.shape
        assert expected.any()
        assert (found != expected).mean() < 1e-3, folder.name


@pytest.mark.slow
def test_dinov3_is_exported_too(tmp_path: Path):
    flags = ("--method", "insid3", "--size", "small", "--random_weights", "--image_size", 128)
    assert run_export(*flags, "--nshot", 2, "--output", tmp_path / "exported") == 0
