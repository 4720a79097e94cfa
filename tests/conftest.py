"""What tests of scripts share: a small generated benchmark, and ways to run a script."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from common.cli import run_script
from data.synthetic.ade20k_sets import write_ade20k, write_objects365
from data.synthetic.coco_sets import write_coco2017, write_lvis
from data.synthetic.few_shot_sets import write_few_shot_instances
from data.synthetic.image_sets import write_coco, write_voc

torch.set_num_threads(1)
ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared" / "real"


class Outcome(NamedTuple):
    """How a script ended."""

    code: int
    output: str
    error: str


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generated VOC2012 (120 + 60 images) and COCO2014 (20 + 40 images)."""
    root = tmp_path_factory.mktemp("Datasets")
    write_voc(root / "VOC2012", {"train": 120, "val": 60}, seed=3, workers=0)
    write_coco(root / "COCO2014", {"train": 20, "val": 40}, seed=3, workers=0)
    return root


@pytest.fixture(scope="session")
def few_shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated draws of objects and their COCO2014 and VOC2012."""
    root = tmp_path_factory.mktemp("FewShot")
    write_voc(root / "VOC2012", {"train": 1, "val": 6}, seed=3, workers=0)
    write_coco(root / "COCO2014", {"train": 160, "val": 12}, seed=3, workers=0)
    write_few_shot_instances(root, shots=(1, 3), draws=2, workers=0)
    return root


@pytest.fixture(scope="session")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated COCO2017, LVIS, ADEChallengeData2016 and Objects365."""
    root = tmp_path_factory.mktemp("annotated")
    write_coco2017(root / "COCO2017", {"train": 24, "val": 4}, seed=1, workers=0)
    write_lvis(root / "LVIS")
    write_ade20k(root / "ADEChallengeData2016", {"train": 24, "val": 4}, seed=1, workers=0)
    write_objects365(root / "Objects365", {"train": 6}, seed=1, workers=0)
    return root


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Run the main procedure of a script module with flags."""

    def run(module, *flags: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, flags)])
        capsys.readouterr()
        try:
            code = run_script(module.main)
        except SystemExit as stop:
            code = stop.code
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def torchrun() -> Callable:
    """Run a script under torchrun in so many processes, from the repository's root."""

    def run(processes: int, *words: object) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc_per_node={processes}", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)

    return run


TINY = ("--preset", "tiny", "--device", "cpu", "--nworker", "0", "--validation_episodes", "4")
"""Flags of a training run that takes seconds."""


@pytest.fixture
def tiny_flags(generated: Path) -> tuple[str, ...]:
    """Flags of a training run on the generated images that takes seconds."""
    return (*TINY, "--datapath", str(generated))


@pytest.fixture(scope="session")
def trained(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a model that was hardly trained."""
    import train_image

    folder = tmp_path_factory.mktemp("runs") / "trained"
    flags = (*TINY, "--datapath", generated, "--output", folder, "--max_iterations", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train_image.py", *map(str, flags), "--bsz", "2"])
        assert run_script(train_image.main) == 0
    return folder / "last.safetensors"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sample images, which is no part of the repository."""
    if not REAL.is_dir():
        pytest.skip(f"the real samples are not there: {REAL}")
    return REAL


@pytest.fixture
def make_voc(tmp_path: Path) -> Callable[[Mapping[str, np.ndarray]], Path]:
    """Writes masks by name, and grey images of their sizes, as a VOC2012 folder; all are val."""

    def write(masks: Mapping[str, np.ndarray]) -> Path:
        root = tmp_path / "VOC2012"
        for inner in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
            (root / inner).mkdir(parents=True)
        for name, mask in masks.items():
            Image.new("RGB", mask.shape[::-1], (128, 64, 32)).save(
                root / "JPEGImages" / f"{name}.jpg"
            )
            Image.fromarray(mask.astype(np.uint8)).save(
                root / "SegmentationClassAug" / f"{name}.png"
            )
        names = "".join(f"{name}\n" for name in masks)
        for split in ("train", "val"):
            (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names)
        return root

    return write
