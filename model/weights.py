"""Weights of the foundation models and backbones: official files, read safely, loaded strictly."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import UsageError
from model.official import OFFICIAL
from model.official_paths import how_to_get


def read_weights(
    path: Path, name: str | None = None, classes: Sequence[type] = ()
) -> dict[str, Tensor]:
    """Read a state dict on the CPU; one wrapped as `model` or `state_dict` is unwrapped.

    Args:
        path: a `.safetensors` file, or one written by `torch.save`.
        name: the model it is for, so that a missing file can be explained; without it the file's
            own name is looked up in `OFFICIAL`.
        classes: harmless ones of which the file may hold objects beside the weights.

    Raises:
        UsageError: the file is missing, broken or holds something else.
    """
    if not path.is_file():
        raise UsageError(_explain_absence(path, name))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(list(classes)):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of files of other kinds the unpickler raises nearly anything
        raise UsageError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is broken, cut short "
            "or holds more than tensors; fetch it again"
        ) from error
    for wrapper in ("model", "state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state or not _all_tensors(state):
        raise UsageError(f"{path} holds no state dict: names and tensors are expected")
    return dict(state)


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: object,
    names: Collection[str] | None = None,
) -> None:
    """Copy a state dict into a module, where every name and every shape has to match.

    Args:
        source: what to call the origin in the message, usually the file.
        names: which of the module's tensors the state dict has to hold, and no others (default:
            all).

    Raises:
        UsageError: names are missing, unknown, or of another shape or type, or numbers are not
            finite.
    """
    own = module.state_dict()
    wanted = own if names is None else {name: own[name] for name in names if name in own}
    compare_names(state, wanted, f"{source} does not fit {type(module).__name__}")
    broken = [n for n, v in state.items() if not _is_finite(v)]
    if broken:
        raise UsageError(f"{source} holds numbers that are not finite in: {_shorten(broken)}")
    module.load_state_dict(state, strict=False)


def compare_names(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], complaint: str
) -> None:
    """Refuse a state dict that has other names or shapes than expected, or numbers of another kind.

    BatchNorm's count of batches, which nothing here uses, may be missing or of any type.

    Raises:
        UsageError: the complaint, and the names that are missing, unknown, or of another shape or
            type: whole numbers where others belong.
    """
    problems = {
        "missing": [
            name
            for name in expected
            if name not in state and not name.endswith("num_batches_tracked")
        ],
        "unknown": [name for name in state if name not in expected],
        "of another type": [
            f"{name} {value.dtype} instead of {expected[name].dtype}"
            for name, value in state.items()
            if name in expected
            and value.is_floating_point() != expected[name].is_floating_point()
            and not name.endswith("num_batches_tracked")
        ],
        "of another shape": [
            f"{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
            for name, value in state.items()
            if name in expected and value.shape != expected[name].shape
        ],
    }
    found = [f"{kind}: {_shorten(names)}" for kind, names in problems.items() if names]
    if found:
        raise UsageError(f"{complaint}; " + "; ".join(found))


def _explain_absence(path: Path, name: str | None) -> str:
    """That a file is missing and, where it is official, what to do about it, in one line."""
    known = [n for n in OFFICIAL if n == name] or [
        n for n, file in OFFICIAL.items() if path.name in file.names
    ]
    complaint = f"no such weights file: {path}"
    return f"{complaint}; {how_to_get(known[:1])}" if known else complaint


def _is_finite(value: Tensor) -> bool:
    """Whether no number is infinite or not a number; types of 8 bits have no test of their own."""
    if not value.is_floating_point():
        return True
    return bool((value.float() if value.element_size() == 1 else value).isfinite().all())


def _all_tensors(state: Mapping) -> bool:
    return all(isinstance(n, str) and isinstance(v, Tensor) for n, v in state.items())


def _shorten(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
