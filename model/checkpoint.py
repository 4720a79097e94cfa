"""A trained model from its checkpoint alone: method and configuration come from the header."""

import hashlib
import sys
from argparse import Namespace
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from common.checkpoint import FORMAT, code_version, read_facts, read_weights
from common.cli import MOST_WHOLE, limit_problems, value_problems
from common.errors import UsageError
from model.fetching import ensure
from model.method import Method
from model.presence import PresenceScale
from model.registry import DEFAULT_METHOD, METHODS, Entry
from model.weights import OFFICIAL
from model.weights import read_weights as read_foreign_weights


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint's facts and weights; one of a published program is imported.

    Raises:
        UsageError: the file is missing, broken or of another model.
    """
    if not path.is_file() or _is_own(path):
        return read_facts(path), read_weights(path)
    options, weights = published_by(path).read_published(path)
    return {**imported_facts(options, path), "version": code_version()}, weights


def published_by(path: Path) -> Entry:
    """The method whose published program wrote a checkpoint, by its tensors' names.

    Raises:
        UsageError: the file is missing, broken or of no program that is known here.
    """
    # some programs keep their command line beside the weights
    state = read_foreign_weights(path, classes=[Namespace])
    names = {name.removeprefix("module.") for name in state}
    for entry in METHODS.values():
        if entry.is_published(names):
            return entry
    known = [entry.title for entry in METHODS.values() if entry.read_published]
    raise UsageError(
        f"{path} is neither a checkpoint of this program nor one that the published program of "
        f"{', '.join(known)} wrote: its tensors have names like {min(names, default='none')}"
    )


def imported_facts(options: Any, path: Path) -> dict[str, Any]:
    """What is known of a checkpoint of a published program: what it was trained on by its name."""
    names = (n for n, file in OFFICIAL.items() if path.name in (file.file, *file.other_names))
    data = options.data_of(next(names, path.name))
    return {
        "method": options.method,
        "model": options.to_json(),
        **({"data": data} if data else {}),
        "imported_from": path.name,
    }


def entry_of(facts: dict[str, Any], source: object) -> Entry:
    """The method that a checkpoint is of.

    Raises:
        UsageError: this program does not know it.
    """
    name = facts.get("method", DEFAULT_METHOD)
    if not isinstance(name, str) or name not in METHODS:
        raise UsageError(f"{source} is of an unknown method: {str(name)[:60]}")
    return METHODS[name]


def options_of(facts: dict[str, Any], source: object) -> Any:
    """The options which a checkpoint's model was built from.

    Raises:
        UsageError: the header has none, or has options or values which this program does not know.
    """
    options = entry_of(facts, source).options.from_json(facts.get("model"), source)
    problems = value_problems(options) or limit_problems(options) or options.problems()
    if problems:
        raise UsageError(f"{source} does not describe a model: {'; '.join(problems)}")
    return options


def restore_method(facts: dict[str, Any], weights: dict[str, Tensor], source: object) -> Method:
    """Build a checkpoint's model in evaluation mode, on the CPU.

    Args:
        source: what to call the checkpoint in messages.

    Raises:
        UsageError: the checkpoint or a file of its frozen parts is missing or does not fit.
    """
    options, entry = options_of(facts, source), entry_of(facts, source)
    if entry.restore is None:
        raise UsageError(f"{source} is of {entry.title}, which has no checkpoints")
    torch.manual_seed(_seed_of(facts, source))  # what random weights were drawn by
    method = entry.restore(options, weights, source)
    method.domain = facts.get("domain")
    if "presence" in facts:
        try:
            method.presence_scale = PresenceScale.from_json(facts["presence"])
        except ValueError as error:
            raise UsageError(f"{source} has a broken header: {error}") from error
    if facts.get("frozen") not in (None, frozen_fingerprint(method, weights)):
        print(
            f"warning: {source} was trained with other frozen weights than those found here; "
            "expect other results",
            file=sys.stderr,
        )
    return method.eval()


def _seed_of(facts: dict[str, Any], source: object) -> int:
    training = facts.get("training", {})
    seed = training.get("seed", 0) if isinstance(training, dict) else None
    if type(seed) is not int or not 0 <= seed <= MOST_WHOLE:
        raise UsageError(f"{source} has a broken header: no seed of its training can be read")
    return seed


def build_method(
    options: Any, device: torch.device, fetch: bool = False
) -> tuple[Method, dict[str, Any]]:
    """Build a method from public weights, in evaluation mode; with what a header would say of it.

    Args:
        fetch: whether official files that are missing may be fetched.

    Raises:
        UsageError: it segments nothing without a training, or an official file is missing and may
            not, or cannot, be fetched.
    """
    entry = METHODS[options.method]
    if not entry.ready:
        raise UsageError(f"{entry.title} has to be trained: give a checkpoint of it")
    if reason := options.lacks():
        raise UsageError(f"{entry.title} has to be trained: {reason}; give a checkpoint of it")
    ensure(options.files(), fetch)
    torch.manual_seed(0)  # what random weights are drawn by
    method = entry.build(options).eval().to(device)
    return method, {
        "method": options.method,
        "model": options.to_json(),
        "data": options.trained_on(),
        "untrained": options.trained_on() is None,
        "version": code_version(),
    }


def load_method(path: Path, device: torch.device) -> tuple[Method, dict[str, Any]]:
    """Build a checkpoint's model in evaluation mode; returns it with the header's facts.

    Raises:
        UsageError: the checkpoint or a file of its frozen parts is missing or does not fit.
    """
    facts, weights = read_checkpoint(path)
    return restore_method(facts, weights, path).to(device), facts


def learnable_weights(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds, by name: what training changes, and what was drawn for it."""
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    drawn = getattr(model, "drawn_buffers", ())
    return learned | {name: model.get_buffer(name) for name in drawn}


def frozen_fingerprint(method: Method, changed: Collection[str] = ()) -> str:
    """A short digest of the frozen parts' weights, so that others are noticed.

    It reads a few numbers of every tensor.

    Args:
        changed: names of weights that were trained or that the checkpoint holds: they do not count.
    """
    return fingerprint({part: method.get_submodule(part) for part in method.frozen_parts}, changed)


def fingerprint(parts: Mapping[str, nn.Module], changed: Collection[str] = ()) -> str:
    """`frozen_fingerprint` of modules by name."""
    digest = hashlib.sha256()
    for part, module in parts.items():
        for name, value in module.state_dict().items():
            if f"{part}.{name}" not in changed:
                sample = value.flatten()[:: max(1, value.numel() // 4)].float().cpu()
                digest.update(name.encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def _is_own(path: Path) -> bool:
    """Whether it is a safetensors file of this project, or at least one that claims to be."""
    if path.suffix == ".safetensors":
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False
