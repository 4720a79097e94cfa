"""What is killed, told to stop or left by others goes on and ends as if nothing had happened."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import train_image
from common.errors import AGAIN
from common.files import ROOT
from tests.helpers import coloured_cells, save_reference
from tests.test_train_image import assert_learned_the_same

PATIENCE = 900
"""Seconds that anything may take on a busy machine."""
KILLS = 3
RUN = ("--epochs", 2, "--episodes_per_epoch", 16, "--update_size", 4, "--bsz", 1)
"""Four updates an epoch."""


def start(
    log: Path, words: tuple, environment: Mapping[str, str] | None = None, module: str = ""
) -> subprocess.Popen:
    """Run a script in a process of its own, whose output goes into a file."""
    command = [sys.executable, *(["-m", module] if module else []), *map(str, words)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    with log.open("a") as file:
        return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=file, stderr=file)


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.time() + PATIENCE
    while not condition():
        assert time.time() < deadline, what
        time.sleep(0.02)


def start_pair(folder: Path, words: tuple) -> list[subprocess.Popen]:
    """Two processes as on two nodes, with nobody above who ends one when the other is lost."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        start(folder / f"{rank}.log", words, {**shared, "RANK": str(rank)}) for rank in range(2)
    ]


def epochs_of(run: Path) -> list[tuple[int, int]]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [(one["epoch"], one["update"]) for one in map(json.loads, lines)]


def losses_of(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_lost_process_a_scheduler_and_fewer_processes_change_no_update(
    script, tiny_flags, tmp_path
):
    flags = ("train_image.py", *tiny_flags, *RUN, "--resume_if_begun")
    run = tmp_path / "run"
    words = (*flags, "--output", run)

    first, second = start_pair(tmp_path, words)
    wait_until((run / "state.pt").exists, "no state was written")
    second.kill()
    begun = time.time()
    assert first.wait(PATIENCE) == AGAIN
    assert time.time() - begun < 60
    told = (tmp_path / "0.log").read_text()
    assert "process 1 has ended before the work was done; process 0 stops" in told
    assert "Traceback" not in told

    before = len(told)
    pair = start_pair(tmp_path, words)
    wait_until(lambda: "epoch 2/2" in (tmp_path / "0.log").read_text()[before:], "no second epoch")
    for process in pair:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(PATIENCE) for process in pair] == [AGAIN, AGAIN]
    assert "stopped by SIGTERM after update" in (tmp_path / "0.log").read_text()
    state = torch.load(run / "state.pt", weights_only=True)
    assert state["epoch"] == 1
    assert 4 <= state["update"] <= 8

    whole = tmp_path / "whole"
    assert script(train_image, *flags[1:], "--output", run).code == 0
    assert script(train_image, *flags[1:], "--output", whole).code == 0

    assert_learned_the_same(whole, run)
    assert epochs_of(run) == epochs_of(whole) == [(1, 4), (2, 8)]
    assert losses_of(run) == pytest.approx(losses_of(whole), abs=1e-3)


@pytest.mark.slow
def test_torchrun_carries_on_from_the_last_state_when_a_process_is_killed(
    script, tiny_flags, tmp_path
):
    flags = ("train_image.py", *tiny_flags, *RUN, "--resume_if_begun")
    run, launcher = tmp_path / "run", ("--standalone", "--nproc_per_node=2", "--max-restarts=1")
    log = tmp_path / "log"
    torchrun = start(log, (*launcher, *flags, "--output", run), module="torch.distributed.run")

    wait_until((run / "state.pt").exists, "no state was written")
    below = psutil.Process(torchrun.pid).children()
    [victim] = [one for one in below if one.environ().get("RANK") == "1"]
    victim.kill()
    assert torchrun.wait(PATIENCE) == 0, log.read_text()
    assert log.read_text().count("epoch 1: loss") == 1  # it was not begun again

    whole = tmp_path / "whole"
    assert script(train_image, *flags[1:], "--output", whole).code == 0
    assert_learned_the_same(whole, run)
    assert epochs_of(run) == [(1, 4), (2, 8)]


def refuse_half_written(folder: Path) -> None:
    """Read every file that has its final name."""
    for path in folder.rglob("[!.]*"):
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                assert file.keys()
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()


def kill_and_repeat(folder: Path, output: Path, words: tuple, seed: int) -> None:
    """Kill a command at random moments of the time that it takes, then let it end.

    Each moment is drawn from the time of an undisturbed run into another folder.
    """
    begun = time.time()
    assert start(folder / "whole.log", (*words, "--output", folder / "whole")).wait(PATIENCE) == 0
    length, draw = time.time() - begun, random.Random(seed)
    for _ in range(KILLS):
        process = start(folder / "killed.log", (*words, "--output", output))
        time.sleep(draw.uniform(0.3, 1) * length)  # before that it only starts
        process.kill()
        process.wait()
        if output.exists():
            refuse_half_written(output)
    told = folder / "killed.log"
    assert start(told, (*words, "--output", output)).wait(PATIENCE) == 0, told.read_text()
    assert not list(output.rglob(".*")), "half-written files are left"


@pytest.mark.slow
def test_training_killed_at_random_moments_learns_the_same(tiny_flags, tmp_path):
    words = ("train_image.py", *tiny_flags, *RUN, "--resume_if_begun")
    kill_and_repeat(tmp_path, tmp_path / "run", words, seed=1)
    for name in ("last.safetensors", "best.safetensors"):
        expected, found = load_file(tmp_path / "whole" / name), load_file(tmp_path / "run" / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert epochs_of(tmp_path / "run") == epochs_of(tmp_path / "whole")
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")


@pytest.mark.slow
def test_labelling_killed_at_random_moments_writes_the_same_files(trained, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(40):
        Image.fromarray(coloured_cells(number, (300, 200))).save(
            tmp_path / "photos" / f"{number:02d}.png"
        )
    words = ("predict.py", "--ckpt", trained, "--device", "cpu", *save_reference(tmp_path))
    words = (*words, "--target", tmp_path / "photos", "--polygons", "--labelme")
    kill_and_repeat(tmp_path, tmp_path / "run", words, seed=2)

    def contents(folder: Path) -> dict[Path, bytes]:
        files = [path for path in folder.rglob("[!.]*") if path.is_file()]
        return {path.relative_to(folder): path.read_bytes() for path in files}

    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_evaluation_killed_at_random_moments_finds_the_same(trained, generated, tmp_path):
    words = ("eval_image.py", "--ckpt", trained, "--datapath", generated, "--device", "cpu")
    words = (*words, "--nworker", 0, "--test_episodes", 40)
    kill_and_repeat(tmp_path, tmp_path / "run", words, seed=3)

    def scores(folder: Path) -> dict:
        results = json.loads((folder / "results.json").read_text())
        return {name: v for name, v in results.items() if name not in ("seconds", "cost")}

    assert scores(tmp_path / "run") == scores(tmp_path / "whole")
