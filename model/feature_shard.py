"""The features of one image as a file: a safetensors shard that is mapped, not read, when opened.

Any method's features are dataclasses of tensors, of other such dataclasses and of plain numbers.
"""

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from common.files import BROKEN, parse_json, write_atomically

_LARGEST_FP16 = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Shard:
    """Features of an image as a file holds them."""

    tensors: dict[str, Tensor]
    """On the CPU; single precision as fp16, or as bf16 where a value is too large for that."""
    halved: frozenset[str]
    """Names of the tensors that were of single precision."""
    plain: dict[str, Any]
    """What features hold beside tensors."""

    @classmethod
    def pack(cls, features: Any) -> Self:
        """Features of any method."""
        tensors, plain = taken_apart(features)
        halved = {name for name, tensor in tensors.items() if tensor.dtype == torch.float32}
        small = {n: _half(one) if n in halved else one for n, one in tensors.items()}
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in small.items()}
        return cls(on_cpu, frozenset(halved), plain)

    def unpack(self, kind: Any, device: torch.device) -> Any:
        """Features of a class, on a device; whole numbers stay on the CPU, where methods read them.

        Raises:
            KeyError: something that the class needs is missing.
        """
        tensors = {}
        for name, tensor in self.tensors.items():
            moved = tensor.to(device) if tensor.is_floating_point() else tensor
            tensors[name] = moved.float() if name in self.halved else moved
        return put_together(kind, tensors, self.plain)

    def write(self, path: Path) -> int:
        """Write the file, all or nothing; returns its size in bytes.

        Raises:
            UsageError: there is no right or no room to write.
        """
        about = json.dumps({"plain": self.plain, "halved": sorted(self.halved)})
        content = save(self.tensors, {"features": about})  # of several entries the order varies
        write_atomically(path, lambda place: Path(place).write_bytes(content))
        return len(content)

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Map a file into memory; None: there is none, or it is broken."""
        try:
            with safe_open(path, framework="pt") as file:
                about = parse_json((file.metadata() or {})["features"])
                names = list(file.keys())
                tensors = {name: file.get_tensor(name) for name in names}
            return cls(tensors, frozenset(about["halved"]), about["plain"])
        except (OSError, SafetensorError, *BROKEN):
            return None


def taken_apart(features: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the plain values of features, each by a dotted name."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}

    def take(name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            tensors[name] = value
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                take(f"{name}.{field.name}", getattr(value, field.name))
        elif isinstance(value, tuple) and any(isinstance(part, Tensor) for part in value):
            for number, part in enumerate(value):
                take(f"{name}.{number}", part)
        else:
            plain[name] = list(value) if isinstance(value, tuple) else value

    take("features", features)
    return tensors, plain


def put_together(kind: Any, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> Any:
    """What `taken_apart` took, as a class.

    Raises:
        KeyError: something that the class needs is missing.
    """

    def put(name: str, hint: Any) -> Any:
        if name in tensors:
            return tensors[name]
        if name in plain:
            value = plain[name]
            return tuple(value) if isinstance(value, list) else value
        hint = next((one for one in typing.get_args(hint) if dataclasses.is_dataclass(one)), hint)
        if dataclasses.is_dataclass(hint):
            hints = typing.get_type_hints(hint)
            fields = [field.name for field in dataclasses.fields(hint)]
            return hint(**{field: put(f"{name}.{field}", hints[field]) for field in fields})
        parts = []
        while (part := f"{name}.{len(parts)}") in tensors:
            parts.append(tensors[part])
        if not parts:
            raise KeyError(name)
        return tuple(parts)

    return put("features", kind)


def _half(tensor: Tensor) -> Tensor:
    fits = tensor.numel() == 0 or bool(tensor.abs().max() <= _LARGEST_FP16)
    return tensor.to(torch.float16 if fits else torch.bfloat16)
