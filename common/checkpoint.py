"""Checkpoints: learned weights as safetensors with everything needed to use them in the header.

A run's folder also holds a training state, from which an interrupted run continues.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.cli import shown
from common.errors import UsageError
from common.files import BROKEN, ROOT, parse_json, write_atomically
from common.sums import check_sum

FORMAT = "dc-sam 1"

_DATA = {"benchmark": str, "fold": int, "sources": str, "exclusion": str}
_FACTS: dict[str, Any] = {
    "method": str,
    "model": {},
    "data": _DATA,
    "stage": _DATA,
    "losses": {},
    "training": {"seed": int},
    "presence": {},
    "metrics": {},
    "domain": str,
    "frozen": str,
    "training_episodes": str,
    "imported_from": str,
    "untrained": bool,
    "concept": str,
    "kinds": list,
}
"""What a header may say: the type of each fact, or of the facts within it. None always may be, and
what is not named here nobody reads; of `model`, the method's options say what they are."""

_STATE = {
    **dict.fromkeys(("weights", "optimizer", "schedule", "scaler"), dict),
    **dict.fromkeys(("update", "epoch"), int),
    "best": float,
}
"""What a training's state holds: the type of each part."""


def code_version() -> str:
    """The commit of this checkout, with a mark if files were changed; else the release."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "0.1.0"
    return answer.stdout.strip()


def save_checkpoint(path: Path, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write weights and facts (JSON values) to a safetensors file, all or nothing.

    Raises:
        UsageError: it cannot be written.
    """
    header = {"format": FORMAT, "version": code_version(), "facts": json.dumps(facts)}
    write_tensors(path, weights, header)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a safetensors file, all or nothing.

    Raises:
        UsageError: it cannot be written.
    """
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}

    def write(place: Path) -> None:
        try:
            save_file(stored, place, metadata=dict(header))
        except SafetensorError as error:  # also where the disk is full
            raise OSError(str(error)) from None

    write_atomically(path, write)


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
        facts = {**parse_json(header["facts"]), "version": header["version"]}
    except BROKEN as error:  # absent, no JSON, or no object in it
        raise UsageError(f"{path} has a broken header: its facts cannot be read") from error
    refuse_facts(facts, path)
    return facts


def refuse_facts(facts: Mapping[str, Any], source: object) -> None:
    """Check what a header says before anything is made of it.

    Raises:
        UsageError: it says something of another kind than this program writes.
    """
    if wrong := _misfits(facts, _FACTS):
        raise UsageError(f"{source} has a broken header: {'; '.join(wrong)}")


def _misfits(facts: Mapping[str, Any], schema: Mapping[str, Any], within: str = "") -> list[str]:
    found = []
    for name, kind in schema.items():
        value = facts.get(name)
        if value is None:
            continue
        nested = isinstance(kind, dict)
        if type(value) is not (dict if nested else kind):
            found.append(f"{within}{name} cannot be {shown(value)}")
        elif nested:
            found += _misfits(value, kind, f"{name}.")
    return found


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint whose facts could be read."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def save_training_state(path: Path, state: dict[str, Any]) -> None:
    """Write everything a run needs to continue: plain values and tensors only.

    Raises:
        UsageError: it cannot be written.
    """

    def write(place: Path) -> None:
        try:
            torch.save(state, place)
        except RuntimeError as error:  # also where the disk is full
            raise OSError(str(error).splitlines()[0]) from None

    write_atomically(path, write)


def read_training_state(path: Path) -> dict[str, Any]:
    """Read what `save_training_state` wrote.

    Raises:
        UsageError: there is no such file, it is broken, or it holds something else.
    """
    if not path.is_file():
        raise UsageError(f"nothing to resume: no such file: {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"{path} cannot be resumed from: {shown(error)}") from error
    known = isinstance(state, dict) and all(
        isinstance(state.get(name), kind) for name, kind in _STATE.items()
    )
    if not known or not all(isinstance(value, Tensor) for value in state["weights"].values()):
        raise UsageError(f"{path} cannot be resumed from: it is no state of a training")
    return state
