"""A trained model from its checkpoint alone: the configuration comes from the header."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from common.checkpoint import read_facts, read_weights
from common.errors import UsageError
from model.build import ModelOptions, build_model, frozen_fingerprint, load_learnable
from model.dc_sam import DcSam

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


def load_model(path: Path, device: torch.device) -> tuple[DcSam, dict[str, Any]]:
    """Build a checkpoint's model in evaluation mode; returns it with the header's facts.

    Raises:
        UsageError: the checkpoint or a file of its frozen parts is missing or does not fit.
    """
    facts = read_facts(path)
    options = model_options(facts, path)
    torch.manual_seed(facts.get("training", {}).get("seed", 0))  # what random weights were drawn by
    model = build_model(options)
    load_learnable(model, read_weights(path), path)
    if facts.get("frozen") not in (None, frozen_fingerprint(model)):
        print(
            f"warning: {path} was trained with other weights of {options.backbone} or "
            f"{options.segmenter} than those found here; expect other results",
            file=sys.stderr,
        )
    return model.eval().to(device), facts
