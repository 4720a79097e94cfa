"""A trained model from its checkpoint alone: the configuration comes from the header.

Checkpoints of the released program are imported on the way.
"""

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from common.checkpoint import FORMAT, code_version, read_facts, read_weights
from common.cli import to_json
from common.errors import UsageError
from model.dc_sam.config import (
    ModelOptions,
    build_model,
    frozen_fingerprint,
    load_learnable,
    load_tuned,
)
from model.dc_sam.network import DcSam
from model.dc_sam.released_names import read_release
from model.sam.adapters import adapter_names, add_adapters
from model.weights import load_strictly

BACKBONE = "backbone."
"""Start of the names of a frozen backbone that a checkpoint holds."""

SEGMENTER = "segmenter."
"""Start of the names of SAM 2's weights that training on videos changed; imported ones are all."""
_WHOLE_SEGMENTER = "segmenter.network.image_encoder."
"""Start of names that are only there if a checkpoint holds all of SAM 2."""

PATH_FIELDS = ("backbone_weights", "sam_weights")


def model_options(facts: dict[str, Any], source: Path) -> ModelOptions:
    """The options which a checkpoint's model was built from.

    Raises:
        UsageError: the header has none, or has options which this program does not know.
    """
    known = {field.name for field in dataclasses.fields(ModelOptions)}
    stored = facts.get("model")
    if not isinstance(stored, dict) or not stored.keys() <= known:
        raise UsageError(f"{source} does not describe a model that this version can build")
    paths = {name: Path(stored[name]) for name in PATH_FIELDS if stored.get(name)}
    return ModelOptions(**{**stored, **paths})


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint's facts and weights; one of the released program is imported.

    Raises:
        UsageError: the file is missing, broken or of another model.
    """
    if not path.is_file() or _is_own(path):
        return read_facts(path), read_weights(path)
    options, weights = read_release(path)
    facts = {"model": to_json(options), "imported_from": path.name, "version": code_version()}
    return facts, weights


def restore_model(options: ModelOptions, weights: dict[str, Tensor], source: object) -> DcSam:
    """Build DC-SAM with a checkpoint's weights; a backbone or SAM 2 that it holds needs no file.

    Weights of SAM 2 that were trained stand in the place of the official ones, and adapters beside
    them.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the weights are of another configuration, or a frozen part's file is missing.
    """
    frozen = {n.removeprefix(BACKBONE): v for n, v in weights.items() if n.startswith(BACKBONE)}
    tuned = {name: weights[name] for name in tuned_names(weights)}
    learned = {n: v for n, v in weights.items() if not n.startswith((BACKBONE, SEGMENTER))}
    whole = any(name.startswith(_WHOLE_SEGMENTER) for name in weights)
    model = build_model(options, read_backbone=not frozen, read_segmenter=not whole)
    if adapter_names(weights):
        add_adapters(model.segmenter.official)
    if frozen:
        load_strictly(model.backbone, frozen, source)
    load_learnable(model, learned, source)
    load_tuned(model, tuned, source)
    return model


def tuned_names(weights: Iterable[str]) -> set[str]:
    """Which of a checkpoint's tensors are weights of SAM 2."""
    return {name for name in weights if name.startswith(SEGMENTER)}


def load_model(path: Path, device: torch.device) -> tuple[DcSam, dict[str, Any]]:
    """Build a checkpoint's model in evaluation mode; returns it with the header's facts.

    Raises:
        UsageError: the checkpoint or a file of its frozen parts is missing or does not fit.
    """
    facts, weights = read_model(path)
    options = model_options(facts, path)
    torch.manual_seed(facts.get("training", {}).get("seed", 0))  # what random weights were drawn by
    model = restore_model(options, weights, path)
    if facts.get("frozen") not in (None, frozen_fingerprint(model, tuned_names(weights))):
        print(
            f"warning: {path} was trained with other weights of {options.backbone} or "
            f"{options.segmenter} than those found here; expect other results",
            file=sys.stderr,
        )
    return model.eval().to(device), facts


def _is_own(path: Path) -> bool:
    """Whether it is a safetensors file of this project, or at least one that claims to be."""
    if path.suffix == ".safetensors":
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False
