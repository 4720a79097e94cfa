"""Checkpoints: learned weights as safetensors with everything needed to use them in the header.

A run's folder also holds a training state, from which an interrupted run continues.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.errors import UsageError
from common.files import ROOT, write_atomically
from common.sums import check_sum

FORMAT = "dc-sam 1"


def code_version() -> str:
    """The commit of this checkout, with a mark if files were changed; else the release."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "0.1.0"
    return answer.stdout.strip()


def save_checkpoint(path: Path, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write weights and facts (JSON values) to a safetensors file, all or nothing."""
    header = {"format": FORMAT, "version": code_version(), "facts": json.dumps(facts)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(path, lambda place: save_file(tensors, place, metadata=header))


def read_facts(path: Path) -> dict[str, Any]:
    """The facts in a checkpoint's header, and `version`, the code that wrote it.

    Raises:
        UsageError: there is no such file, it is none of ours, or a SHA256SUMS beside it lists
            another content.
    """
    if not path.is_file():
        raise UsageError(f"no such checkpoint: {path}")
    check_sum(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise UsageError(f"{path} is no readable safetensors file: {error}") from error
    if header.get("format") != FORMAT:
        raise UsageError(f"{path} was not written by this program (no '{FORMAT}' in its header)")
    try:
        facts = json.loads(header["facts"])
        return {**facts, "version": header["version"]}
    except (KeyError, TypeError, ValueError) as error:  # absent, no JSON, or no object in it
        raise UsageError(f"{path} has a broken header: its facts cannot be read") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint whose facts could be read."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def save_training_state(path: Path, state: dict[str, Any]) -> None:
    """Write everything a run needs to continue: plain values and tensors only."""
    write_atomically(path, lambda place: torch.save(state, place))


def read_training_state(path: Path) -> dict[str, Any]:
    """Read what `save_training_state` wrote.

    Raises:
        UsageError: there is no such file or it is broken.
    """
    if not path.is_file():
        raise UsageError(f"nothing to resume: no such file: {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"{path} cannot be resumed from: {error}") from error
