"""Checkpoints of PFENet's published program (`.pth`) under the names used here.

Such a file holds what learned and the frozen backbone. It tells neither the size of images nor the
scales, which are others for PASCAL and COCO.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from common.errors import UsageError
from model.backbones.backbone import BUILDERS, Backbone
from model.dc_sam.released_names import backbone_name
from model.dc_sam.released_names import released_name as released_backbone_name
from model.pfenet.config import SIZES, PfenetOptions
from model.pfenet.network import Pfenet
from model.weights import compare_names, read_weights

_REDUCTIONS = ("reduce_support.0.weight", "reduce_query.0.weight")
_RULES = (
    (r"^reduce_support\.", "down_supp."),
    (r"^reduce_query\.", "down_query."),
    (r"^enrichment\.merge\.", "init_merge."),
    (r"^enrichment\.connect\.", "alpha_conv."),
    (r"^enrichment\.refine\.", "beta_conv."),
    (r"^enrichment\.classify\.", "inner_cls."),
    (r"^enrichment\.join\.", "res1."),
    (r"^enrichment\.refine_all\.", "res2."),
    (r"^enrichment\.classify_all\.", "cls."),
)
_MARKS = ("down_supp.0.weight", "init_merge.0.0.weight", "cls.0.weight")


def released_name(name: str) -> str:
    """What the published program calls a tensor."""
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return released_backbone_name(name)


def is_release(names: Collection[str]) -> bool:
    """Whether a state dict with these names, without `module.`, may be one of PFENet's."""
    return all(mark in names for mark in _MARKS)


def import_release(
    state: Mapping[str, Tensor], source: object, benchmark: str | None = None
) -> tuple[PfenetOptions, dict[str, Tensor]]:
    """Give every tensor of a published checkpoint its name here.

    Args:
        state: the checkpoint as saved, with `module.` or without.
        source: what to call it in messages, usually the file.
        benchmark: of `model.pfenet.config.SIZES`, whose sizes it was trained with; None: PASCAL.

    Raises:
        UsageError: with the names that are missing, unknown or of another shape.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if not is_release(state):
        raise UsageError(f"{source}: no checkpoint of PFENet: it lacks one of {', '.join(_MARKS)}")
    try:
        backbone = backbone_name(state)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    options = PfenetOptions(
        backbone=backbone, width=len(state["cls.0.weight"]), **SIZES[benchmark or "pascal"]
    )
    with torch.device("meta"):
        model = Pfenet(Backbone(backbone, BUILDERS[backbone]({})), width=options.width)
    expected = {released_name(name): (name, value) for name, value in model.state_dict().items()}
    compare_names(
        state,
        {name: value for name, (_, value) in expected.items()},
        f"{source} does not fit PFENet with {backbone}",
    )
    weights = {expected[name][0]: value for name, value in state.items()}
    for name in _REDUCTIONS:  # its program has stage 3, two thirds of the channels, before stage 2
        weights[name] = weights[name].roll(weights[name].shape[1] // 3, dims=1)
    return options, weights


def read_release(
    path: Path, benchmark: str | None = None
) -> tuple[PfenetOptions, dict[str, Tensor]]:
    """Read a checkpoint file of the published program: see `import_release`.

    Raises:
        UsageError: also when the file is missing, broken or holds more than tensors.
    """
    return import_release(read_weights(path), path, benchmark)
