"""Unpacking archives safely."""

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from common.errors import UsageError
from common.files import temporary_beside

_BROKEN_ARCHIVE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


def extract(archive: Path, folder: Path, places: Mapping[str, str]) -> None:
    """Unpack some files of a tar or zip archive; those that are there in full are left alone.

    Args:
        folder: nothing is written outside of it.
        places: a file's name in the archive, or the beginning of names (`images/`) -> what
            stands instead of it below `folder`. Other files are not unpacked, links never.

    Raises:
        UsageError: the archive is broken, a member points outside of `folder`, or a file cannot
            be written.
    """
    inside = folder.resolve()
    try:
        for name, size, open_member in tqdm(
            _members(archive), desc=f"unpacking {archive.name}", unit=" files", mininterval=0.5
        ):
            target = _target(name, folder, places)
            if target is None:
                continue
            if ".." in PurePosixPath(name).parts or not target.resolve().is_relative_to(inside):
                raise UsageError(f"{archive}: its member {name} points outside of {folder}")
            if not (target.is_file() and target.stat().st_size == size):
                with open_member() as source:
                    _write(source, target)
    except _BROKEN_ARCHIVE as error:
        raise UsageError(f"{archive} is broken ({error}): delete it and fetch it again") from None
    except OSError as error:
        raise UsageError(f"cannot unpack {archive} into {folder}: {error}") from error


def member_names(archive: Path) -> list[str]:
    """The names of all regular files of an archive.

    Raises:
        UsageError: the archive is broken.
    """
    try:
        return [name for name, _, _ in _members(archive)]
    except _BROKEN_ARCHIVE as error:
        raise UsageError(f"{archive} is broken ({error}): delete it and fetch it again") from None


def _target(name: str, folder: Path, places: Mapping[str, str]) -> Path | None:
    for beginning, place in places.items():
        if name == beginning or (beginning.endswith("/") and name.startswith(beginning)):
            return folder / (place + name.removeprefix(beginning))
    return None


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, size and opener of every regular file of an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                if not entry.is_dir() and (entry.external_attr >> 28) != 0o12:  # no symbolic links
                    yield entry.filename, entry.file_size, partial(file.open, entry)
        return
    with tarfile.open(archive) as file:
        for member in file:
            if member.isreg():
                yield member.name, member.size, partial(file.extractfile, member)


def _write(source: IO[bytes], target: Path) -> None:
    """Without a flush for every small file: the size tells what a power cut left unfinished."""
    temporary = temporary_beside(target)
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(source, file)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
