"""The tensors of SegIC's published program under our names."""

from collections.abc import Collection, Mapping

from torch import Tensor

from common.errors import UsageError

_MARKS = ("neck.0.weight", "inst_type_embed.weight", "prompt_proj.weight")
"""Names of tensors that only the published program's checkpoints have together."""


def import_release(state: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    """The published program's tensors under our names.

    Raises:
        UsageError: they are of another program.
    """
    names = {name.removeprefix("module."): value for name, value in state.items()}
    if not is_release(names):
        raise UsageError(f"{source} is no checkpoint of SegIC's published program")
    return {f"decoder.{name}": value.float() for name, value in names.items()}


def is_release(names: Collection[str]) -> bool:
    """Whether tensors of these names, without `module.`, are of the published program."""
    return set(_MARKS) <= set(names)
