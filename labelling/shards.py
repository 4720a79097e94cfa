"""What a cluster labels: files on any file system, cut into shards that are done as a whole.

A shard is a number of pictures, or one Parquet or WebDataset file. Its name says its number and
what its files were, so that results of other content are never taken for its own.
"""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import fsspec
import pyarrow as pa
from pyarrow import parquet
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystem,
    FileType,
    FSSpecHandler,
    LocalFileSystem,
    PyFileSystem,
)

from common.errors import UsageError
from common.files import write_atomically
from common.video_io import IMAGE_SUFFIXES

PICTURES, PARQUET, TAR = "pictures", "parquet", "tar"
"""Kinds of shards."""

THREADS = 16
"""So many sources are looked at at a time."""

_PLAN = pa.schema([("path", pa.string()), ("kind", pa.string()), ("shard", pa.int64())])


@dataclass(frozen=True)
class Found:
    """A file that was listed."""

    path: str
    """As its file system calls it."""
    size: int
    """Bytes."""
    modified: int
    """When, in nanoseconds; 0 where the file system does not tell."""

    @property
    def kind(self) -> str | None:
        """What it holds, by its suffix; None: nothing that is labelled."""
        suffix = PurePosixPath(self.path).suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            return PICTURES
        return {".parquet": PARQUET, ".tar": TAR}.get(suffix)


@dataclass(frozen=True)
class Shard:
    """Files whose results are written together."""

    number: int
    """From 0."""
    kind: str
    files: tuple[Found, ...]

    @property
    def name(self) -> str:
        """What its results are called: the number, and a digest of its files' paths and states."""
        lines = "".join(f"{one.path}\n{one.size} {one.modified}\n" for one in self.files)
        return f"{self.number:06d}-{hashlib.sha256(lines.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Storage:
    """A file system, and what comes before its paths in the names of files."""

    files: FileSystem
    prefix: str = ""

    @classmethod
    def of(cls, place: str) -> "Storage":
        """The storage of a path or URI: pyarrow's own, or any that fsspec knows.

        Raises:
            UsageError: nothing knows it, or a package that reads it is missing.
        """
        scheme, colon, _ = place.partition("://")
        if not colon:
            return cls(LocalFileSystem())
        try:
            files, _ = FileSystem.from_uri(place)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            try:
                files = PyFileSystem(FSSpecHandler(fsspec.core.url_to_fs(place)[0]))
            except (ValueError, ImportError, OSError) as error:
                raise UsageError(f"cannot open {place}: {error}") from None
        except OSError as error:
            raise UsageError(f"cannot open {place}: {error}") from None
        return cls(files, "" if isinstance(files, LocalFileSystem) else f"{scheme}://")

    def path(self, place: str) -> str:
        """A place as the file system calls it."""
        path = place.partition("://")[2] if "://" in place else place
        return os.path.abspath(path) if isinstance(self.files, LocalFileSystem) else path

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            UsageError: it is missing or cannot be read.
        """
        try:
            with self.files.open_input_stream(path) as stream:
                return stream.read()
        except FileNotFoundError:
            raise UsageError(f"no such image: {self.prefix}{path}") from None
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"cannot read the image {self.prefix}{path}: {error}") from None


def list_files(sources: Sequence[str], output: Path) -> tuple[Storage, list[Found]]:
    """The files of all kinds that folders, files and (of this machine) patterns name.

    Folders are gone through with all that is in them, but for the results and what is hidden.

    Raises:
        UsageError: a source names nothing, or they lie in different storages.
    """
    if len({source.partition("://")[0] if "://" in source else "" for source in sources}) > 1:
        raise UsageError("--target: pictures in different storages: label them one after the other")
    storage = Storage.of(sources[0])
    is_local = isinstance(storage.files, LocalFileSystem)
    inside = f"{output.resolve()}/" if is_local else None
    found: dict[str, Found] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for source, infos in zip(
            sources, pool.map(lambda source: [*_infos(storage, source)], sources), strict=True
        ):
            kept = [one for one in map(_found, infos) if _is_wanted(one, inside)]
            if not kept:
                raise UsageError(f"no picture, Parquet or tar file found: {source}")
            found |= {one.path: one for one in kept}
    return storage, [found[path] for path in sorted(found)]


def _infos(storage: Storage, source: str) -> Iterator[FileInfo]:
    path = storage.path(source)
    try:
        [info] = storage.files.get_file_info([path])
        if info.type == FileType.Directory:
            selector = FileSelector(path, recursive=True)
            yield from (one for one in storage.files.get_file_info(selector) if one.is_file)
        elif info.is_file:
            yield info
        elif isinstance(storage.files, LocalFileSystem):
            names = sorted(glob.glob(path, recursive=True))
            yield from (one for one in storage.files.get_file_info(names) if one.is_file)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"cannot list {source}: {error}") from None


def _found(info: FileInfo) -> Found:
    return Found(info.path, info.size, info.mtime_ns or 0)


def _is_wanted(one: Found, inside: str | None) -> bool:
    hidden = PurePosixPath(one.path).name.startswith((".", "_"))
    return one.kind is not None and not hidden and not (inside and one.path.startswith(inside))


def cut_into_shards(
    found: Iterable[Found], known: Mapping[str, int], shard_size: int
) -> list[Shard]:
    """Put files into shards; what was in one before stays in it.

    Args:
        found: in a fixed order.
        known: path -> number of the shard, from an earlier plan.
        shard_size: pictures of a new shard of pictures.
    """
    members: dict[int, list[Found]] = {}
    fresh: dict[str, list[Found]] = {PICTURES: [], PARQUET: [], TAR: []}
    for one in found:
        if one.path in known:
            members.setdefault(known[one.path], []).append(one)
        else:
            fresh[one.kind].append(one)
    number = max(known.values(), default=-1) + 1
    for kind, files in fresh.items():
        size = shard_size if kind == PICTURES else 1
        for first in range(0, len(files), size):
            members[number] = files[first : first + size]
            number += 1
    return [Shard(n, files[0].kind, tuple(files)) for n, files in sorted(members.items())]


def read_plan(path: Path) -> dict[str, int]:
    """Path of a file -> number of its shard, as `write_plan` wrote them; none at first.

    Raises:
        UsageError: the file is broken.
    """
    if not path.exists():
        return {}
    try:
        table = parquet.read_table(path, schema=_PLAN)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read: choose another folder ({error})") from None
    return dict(zip(table["path"].to_pylist(), table["shard"].to_pylist(), strict=True))


def write_plan(path: Path, shards: Sequence[Shard]) -> None:
    """Write down which file is in which shard, all or nothing."""
    rows = [(one.path, shard.kind, shard.number) for shard in shards for one in shard.files]
    columns = [list(column) for column in zip(*rows, strict=True)]
    table = pa.table(dict(zip(_PLAN.names, columns, strict=True)), schema=_PLAN)
    write_atomically(path, lambda place: parquet.write_table(table, place))


def unreadable_parquet(storage: Storage, shards: Sequence[Shard], column: str) -> dict[Shard, str]:
    """Which Parquet files are broken, and why.

    Raises:
        UsageError: one has no such column.
    """

    def look(shard: Shard) -> str | None:
        path = shard.files[0].path
        name = f"{storage.prefix}{path}"
        try:
            names = parquet.read_schema(path, filesystem=storage.files).names
        except (OSError, ValueError, pa.ArrowException) as error:
            return f"cannot read {name}: {error}"
        if column not in names:
            raise UsageError(f"{name} has no column {column}, but {', '.join(names)}")
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        looked = zip(shards, pool.map(look, shards), strict=True)
        return {shard: error for shard, error in looked if error}
