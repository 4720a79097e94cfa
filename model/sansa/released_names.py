"""SANSA's released adapters: which SAM 2 they are for, and their tensors under our names.

A file holds adapters alone, beside an optimiser's state and the program's options, a Namespace.
"""

from argparse import Namespace
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from common.errors import UsageError
from model.sansa.adapters import widths_of
from model.weights import read_weights

TRUNK = "segmenter.network.image_encoder.trunk.blocks."
"""What stands before a block's number in our names of weights."""
_RELEASED = "sam.image_encoder.trunk.blocks."
_SAM_MODELS = {
    (3, 11, 384): "sam2_hiera_t",
    (5, 23, 448): "sam2_hiera_b+",
    (8, 47, 576): "sam2_hiera_l",
    (3, 7, 96): "tiny",
}
"""By the first and the last adapted block and the first one's channels."""


def is_release(names: Collection[str]) -> bool:
    """Whether a file with tensors of these names, without `module.`, may hold SANSA's adapters."""
    return any(name.startswith(_RELEASED) and ".adapter." in name for name in names)


def read_adapters(path: Path, name: str | None = None) -> tuple[str, dict[str, Tensor]]:
    """Read a released file of adapters.

    Args:
        name: of the official file, see `model.weights.OFFICIAL`.

    Returns:
        The SAM 2 that they are for, and the weights under our names.

    Raises:
        UsageError: the file is missing, broken, or holds anything but SANSA's adapters.
    """
    state = read_weights(path, name, classes=[Namespace])
    return import_adapters(state, path)


def import_adapters(state: Mapping[str, Tensor], source: object) -> tuple[str, dict[str, Tensor]]:
    """`read_adapters` of what was read."""
    names = {name: name.removeprefix("module.") for name in state}
    foreign = [n for n, bare in names.items() if not bare.startswith(_RELEASED)]
    if foreign:
        raise UsageError(f"{source} holds more than SANSA's adapters, for instance {foreign[0]}")
    weights = {TRUNK + names[n].removeprefix(_RELEASED): v.float() for n, v in state.items()}
    blocks = sorted(widths_of(weights, TRUNK))
    ends = (blocks[0], blocks[-1]) if blocks else (0, 0)
    up_proj = weights.get(f"{TRUNK}{ends[0]}.adapter.up_proj.weight")
    channels = 0 if up_proj is None else len(up_proj)
    if (*ends, channels) not in _SAM_MODELS:
        raise UsageError(
            f"{source} holds adapters of no SAM 2 that SANSA uses: blocks {ends[0]} to {ends[1]}, "
            f"{channels} channels"
        )
    return _SAM_MODELS[*ends, channels], weights
