"""Trained models from checkpoint files: this project's own and those of the released program."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from common.arguments import to_json
from common.checkpoint import FORMAT, read_facts
from common.checkpoint import read_weights as read_own_weights
from model.build import ModelOptions, build_model, load_learnable
from model.dc_sam import DcSam
from model.release import read_release
from model.weights import load_strictly

BACKBONE = "backbone."
"""Start of the names of a frozen backbone that a checkpoint holds."""


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint's facts and weights; one of the released program is imported.

    Returns:
        The facts, of which `model` says what it is made of, and the weights by their names here.

    Raises:
        UsageError: the file is missing, broken or of another model.
    """
    if not path.is_file() or _is_own(path):
        return read_facts(path), read_own_weights(path)
    options, weights = read_release(path)
    return {"model": to_json(options), "imported_from": path.name}, weights


def saved_options(facts: dict[str, Any], **changes: Any) -> ModelOptions:
    """The model's options in a checkpoint's facts.

    Args:
        changes: options to use instead of the saved ones, such as where weights files are now.
    """
    saved = dict(facts["model"])
    for name in ("backbone_weights", "sam_weights"):
        saved[name] = saved[name] and Path(saved[name])
    return replace(ModelOptions(**saved), **changes)


def restore_model(options: ModelOptions, weights: dict[str, Tensor], source: object) -> DcSam:
    """Build DC-SAM with a checkpoint's weights; a backbone that it holds needs no file.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another configuration, or a frozen part's file is missing.
    """
    frozen = {n.removeprefix(BACKBONE): v for n, v in weights.items() if n.startswith(BACKBONE)}
    learned = {n: v for n, v in weights.items() if not n.startswith(BACKBONE)}
    model = build_model(options, read_backbone=not frozen)
    if frozen:
        load_strictly(model.backbone, frozen, source)
    load_learnable(model, learned, source)
    return model


def _is_own(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False
