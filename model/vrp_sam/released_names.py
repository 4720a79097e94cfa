"""Checkpoints of VRP-SAM's released program (`best_model.pt`) under the names used here.

Such a file holds what learned and the frozen backbone, but not SAM.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from common.errors import UsageError
from model.dc_sam.released_names import backbone_name, expected_tensors, released_name
from model.vrp_sam.builder import build_generator
from model.vrp_sam.config import VrpSamOptions
from model.weights import compare_names, read_weights

_TOKENS = "transformer_decoder.supp_q_feat.weight"
_EARLY = "transformer_decoder.transformer_self_attention_layers_0.0.norm.weight"


def is_release(names: Collection[str]) -> bool:
    """Whether a state dict with these names, without `module.`, may be one of VRP-SAM's."""
    return _EARLY in names


def import_release(
    state: Mapping[str, Tensor], source: object, sam_model: str | None = None
) -> tuple[VrpSamOptions, dict[str, Tensor]]:
    """Give every tensor of a released checkpoint its name here.

    Args:
        state: the checkpoint as saved, with `module.` or without.
        source: what to call it in messages, usually the file.
        sam_model: the variant of SAM, which it does not tell; None: ViT-H, the released program's.

    Returns:
        The model's options, and tensors `generator.*` and `backbone.*`.

    Raises:
        UsageError: with the names that are missing, unknown or of another shape.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if _TOKENS not in state or state[_TOKENS].ndim != 2:
        raise UsageError(f"{source}: no checkpoint of VRP-SAM: it has no {_TOKENS}")
    num_query, channels = state[_TOKENS].shape
    try:
        backbone = backbone_name(state)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    # the released program reduces all references alike; it was trained on what that leaves of them
    options = VrpSamOptions(
        backbone=backbone, sam_model=sam_model, num_query=num_query, wiring="release"
    )
    expected = expected_tensors(backbone, lambda middle: build_generator(options, middle, channels))
    names = {released_name(name): name for name in expected}
    compare_names(
        state,
        {theirs: expected[ours] for theirs, ours in names.items()},
        f"{source} does not fit VRP-SAM with {backbone}",
    )
    return options, {names[name]: value for name, value in state.items()}


def read_release(
    path: Path, sam_model: str | None = None
) -> tuple[VrpSamOptions, dict[str, Tensor]]:
    """Read a checkpoint file of the release: see `import_release`.

    Raises:
        UsageError: also when the file is missing, broken or holds more than tensors.
    """
    return import_release(read_weights(path), path, sam_model)
