"""Records whose tensors move and join together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorRecord:
    """Fields of tensors, of tuples of such records, and of anything else.

    What is anything else, tensors within tuples among it, stays where it is.
    """

    def to(self, device: torch.device | str) -> Self:
        """The same record with its tensors on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same record in page-locked memory; `DataLoader` calls this."""
        return self._map(Tensor.pin_memory)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One record of several: tensors along their first dimension, tuples end to end."""
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        return cls(
            **{
                name: torch.cat(column) if isinstance(column[0], Tensor) else sum(column, ())
                for name, column in columns.items()
            }
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        def moved(value: Any) -> Any:
            if isinstance(value, Tensor):
                return function(value)
            if isinstance(value, tuple) and value and isinstance(value[0], TensorRecord):
                return tuple(record._map(function) for record in value)
            return value

        return replace(self, **{f.name: moved(getattr(self, f.name)) for f in fields(self)})
