"""Features of images that were encoded before: in memory, or in a folder that runs share.

What never changes is computed once. An image is known by its content, so that neither its name nor
its place matters, and is encoded alone, so that its features do not depend on its batch.
"""

import hashlib
import json
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from common.errors import UsageError
from model.feature_shard import Shard


class Encoding(Protocol):
    """What is needed of a `model.method.Method`."""

    name: str
    frozen_parts: tuple[str, ...]
    encoder_learns: bool

    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> Any: ...

    def state_dict(self) -> dict[str, Tensor]: ...


FORMAT = 1
"""Counted up where `encode` gives other features for the same weights."""
GIGABYTE = 10**9
COUNTED_AGAIN = 0.02
"""After a process wrote this share of what a folder may hold, it looks what others wrote."""


class FeatureFolder:
    """Shards of one model's features in a folder, which any number of processes may fill.

    A shard holds one image and is there whole or not at all, so nobody has to wait for anybody: two
    that encode the same image write the same file. What is broken is encoded and written again.
    """

    def __init__(self, folder: Path, fingerprint: str, most_bytes: float) -> None:
        """Look what is there.

        Args:
            most_bytes: of all models together; processes that fill the folder at the same time may
                pass it by `COUNTED_AGAIN` of it each.
        """
        self.folder, self.fingerprint, self.most_bytes = folder, fingerprint, most_bytes
        self.full = False
        self._count()

    def path(self, key: str) -> Path:
        """Of an image."""
        return self.folder / self.fingerprint / key[:2] / f"{key}.safetensors"

    def read(self, key: str, kind: Any, device: torch.device) -> Any | None:
        """The features of an image; None: they are not there, or others than these."""
        shard = Shard.open(self.path(key))
        try:
            return shard and shard.unpack(kind, device)
        except KeyError:
            return None

    def write(self, key: str, shard: Shard) -> None:
        """Keep the features of an image, if there is room."""
        if self._written > COUNTED_AGAIN * self.most_bytes:
            self._count()
        if not self.full and self.bytes + self._written >= self.most_bytes:
            self._stop(f"holds {self.most_bytes / GIGABYTE:g} GB")
        if self.full:
            return
        try:
            self._written += shard.write(self.path(key))
        except UsageError as error:
            self._stop(str(error))

    def _stop(self, why: str) -> None:
        self.full = True
        print(f"feature cache {self.folder}: {why}; no more is kept", file=sys.stderr)

    def _count(self) -> None:
        sizes = [*_sizes(self.folder)]
        self.images, self.bytes, self._written = len(sizes), sum(sizes), 0

    def __str__(self) -> str:
        return (
            f"feature cache {self.folder}: {self.images} images, {self.bytes / GIGABYTE:.2f} of at "
            f"most {self.most_bytes / GIGABYTE:g} GB; this model's are in {self.fingerprint}/"
        )


class FeatureStore:
    """What `model.method.Method.features` asks before it encodes.

    Single-precision features that a folder keeps are rounded to half precision, also on the run
    that puts them there: a result does not depend on who was first.
    """

    def __init__(self, folder: FeatureFolder | None = None, in_memory: bool = False) -> None:
        """Keep features in memory, on the model's device; or in a folder; or in both."""
        self.folder = folder
        self.memory: dict[str, Any] | None = {} if in_memory else None
        self.hits = self.misses = 0

    def encode(self, method: Encoding, images: Tensor, sizes: Tensor | None) -> Any:
        """Features of a batch of images; see `model.method.Method.encode`."""
        kind = typing.get_type_hints(type(method).encode)["return"]
        rows = []
        for row in range(len(images)):
            size = None if sizes is None else sizes[row : row + 1]
            rows.append(self._one(method, images[row : row + 1], size, kind))
        return rows[0].join(rows)

    def _one(self, method: Encoding, image: Tensor, size: Tensor | None, kind: Any) -> Any:
        key = content_key(image, size)
        if self.memory is not None and key in self.memory:
            self.hits += 1
            return self.memory[key]
        found = self.folder.read(key, kind, image.device) if self.folder else None
        if found is None:
            self.misses += 1
            found = method.encode(image, sizes=size)
            if self.folder:
                shard = Shard.pack(found)
                self.folder.write(key, shard)
                found = shard.unpack(kind, image.device)
        else:
            self.hits += 1
        if self.memory is not None:
            self.memory[key] = found
        return found


def content_key(image: Tensor, size: Tensor | None) -> str:
    """What decides an image's features beside the model: pixels, shape, size and precision."""
    kind = image.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else image.dtype
    about = (tuple(image.shape), None if size is None else size.tolist(), str(dtype))
    digest = hashlib.sha256(repr(about).encode())
    digest.update(image.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()[:40]


def model_key(method: Encoding, options: dict[str, Any]) -> str:
    """What decides features beside the image: method, options, and all weights that encode.

    Args:
        options: what the method was built from, as a checkpoint's header says it.
    """
    about = {"format": FORMAT, "method": method.name, "options": options}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    state = method.state_dict()
    parts = None if method.encoder_learns else tuple(f"{name}." for name in method.frozen_parts)
    for name, value in state.items():
        if parts is None or name.startswith(parts):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.glob("*/*/*.safetensors"):
        try:
            yield path.stat().st_size
        except OSError:  # somebody else is clearing up
            continue
