"""Fetching archives so that an interruption costs nothing, and unpacking them safely."""

import gzip
import hashlib
import os
import shutil
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from httpx2 import TransportError
from huggingface_hub.file_download import http_get
from tqdm import tqdm

from common.errors import UsageError
from common.files import publish, temporary_beside

_TIMEOUT = 60
"""Seconds without an answer after which a connection is given up."""
_BROKEN_ARCHIVE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


def download(address: str, path: Path, md5: str | None = None) -> None:
    """Fetch a file, continuing where an earlier call stopped.

    What has arrived lies in `<path>.part`; only a file of the announced size (and checksum)
    gets the name `path`. A file that is there already is not fetched again.

    Args:
        md5: the file's checksum, where its publisher gives one.

    Raises:
        OSError: the server does not answer as it should, the checksum differs, or the file
            cannot be written.
        UsageError: the disk has too little room.
    """
    if path.is_file():
        return
    part = path.with_name(f"{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        head = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(head, timeout=_TIMEOUT) as response:
            size = int(response.headers["Content-Length"])
        with part.open("ab") as file:
            if file.tell() > size:  # this was another file
                file.seek(0)
                file.truncate()
            have = file.tell()
            _refuse_too_large(part, size - have)
            name = path.name
            http_get(address, file, resume_size=have, expected_size=size, displayed_filename=name)
    except (OSError, TypeError, TransportError) as error:
        raise OSError(
            f"{address}: {error}. What has arrived is kept: run the same again to continue"
        ) from error
    if md5 is not None and _md5(part) != md5:
        part.unlink()
        raise OSError(
            f"{address}: the checksum differs, the file was changed on its way: run the same "
            "again to fetch it anew"
        )
    publish(part, path)


def _refuse_too_large(part: Path, size: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if size > free:
        raise UsageError(
            f"{part.parent} has {free / 1e9:.1f} GB of room, the download needs {size / 1e9:.1f} GB"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


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
