"""What tests of scripts share: a small generated benchmark, and ways to run a script."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from common.arguments import run_script
from data.generated import write_voc

torch.set_num_threads(1)
ROOT = Path(__file__).parent.parent


class Outcome(NamedTuple):
    """How a script ended."""

    code: int
    output: str
    error: str


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 120 training and 60 validation images in the VOC layout."""
    root = tmp_path_factory.mktemp("Datasets")
    write_voc(root / "VOC2012", {"train": 120, "val": 60}, seed=3, workers=0)
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
