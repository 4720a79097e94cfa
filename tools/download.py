"""Fetching archives so that an interruption costs nothing, and unpacking them safely."""

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from common.errors import UsageError
from common.files import publish, temporary_beside

_BLOCK = 1 << 20
_TIMEOUT = 60
"""Seconds without a single byte after which a connection is given up."""
_BROKEN_ARCHIVE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


class DownloadError(Exception):
    """A file could not be fetched or is not what it should be; its text says what to do."""


def download(
    address: str, path: Path, md5: str | None = None, attempts: int = 5, pause: float = 2.0
) -> None:
    """Fetch a file, continuing where an earlier call stopped.

    What has arrived lies in `<path>.part`; only a file of the announced size (and checksum)
    gets the name `path`. A file that is there already is not fetched again.

    Args:
        md5: the file's checksum, where its publisher gives one.
        attempts: how often a broken connection is taken up again without a byte of progress.
        pause: seconds before a connection is taken up again.

    Raises:
        DownloadError: the server does not answer as it should, or the checksum differs.
        UsageError: the file cannot be written, or the disk has too little room.
    """
    if path.is_file():
        return
    part = path.with_name(f"{path.name}.part")
    failures = 0
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        while True:
            before = _size(part)
            problem = _continue(address, part)
            if problem is None:
                break
            failures = 0 if _size(part) > before else failures + 1
            if failures >= attempts:
                raise DownloadError(
                    f"{address}: {problem}. What has arrived is kept: "
                    "run the same again to continue"
                )
            time.sleep(pause)
        if md5 is not None and _md5(part) != md5:
            part.unlink()
            raise DownloadError(
                f"{address}: the checksum differs, the file was changed on its way: run the same "
                "again to fetch it anew"
            )
        publish(part, path)
    except OSError as error:
        raise UsageError(f"cannot write {part}: {error.strerror or error}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _continue(address: str, part: Path) -> str | None:
    """Fetch what `part` lacks; returns None when it is whole, else what went wrong.

    Raises:
        DownloadError: it makes no sense to try again.
        OSError: `part` cannot be written.
    """
    have = _size(part)
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing lies behind what we have: whole, or not this file
            if error.headers.get("Content-Range", "").removeprefix("bytes */") == str(have):
                return None
            part.unlink()
            return "the file on the server is shorter than what had arrived"
        if error.code >= 500:
            return f"the server answers {error.code} {error.reason}"
        raise DownloadError(f"{address}: the server answers {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        return f"no connection ({error})"
    with response:
        start, total = _range(response, address, have)
        _refuse_too_large(part, total - start)
        with (
            part.open("r+b" if part.exists() else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=PurePosixPath(address).name,
            ) as bar,
        ):
            file.truncate(start)
            file.seek(start)
            while True:
                try:
                    block = response.read1(_BLOCK)
                except (OSError, HTTPException) as error:
                    return f"the connection broke ({error})"
                if not block:
                    break
                file.write(block)
                bar.update(len(block))
    arrived = _size(part)
    if arrived > total:
        part.unlink()
        return f"the server sent more than the {total} bytes it announced"
    return None if arrived == total else f"the connection ended after {arrived} of {total} bytes"


def _range(response: HTTPResponse, address: str, have: int) -> tuple[int, int]:
    """The position of the first byte that the server sends, and the size of the whole file."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise DownloadError(f"{address}: the server sends another part than was asked for")
        return have, int(found[2])
    length = response.headers.get("Content-Length", "")
    if not length.isdigit():
        raise DownloadError(f"{address}: the server does not say how large the file is")
    return 0, int(length)


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
        DownloadError: the archive is broken, or a member points outside of `folder`.
        UsageError: a file cannot be written.
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
                raise DownloadError(f"{archive}: its member {name} points outside of {folder}")
            if not (target.is_file() and target.stat().st_size == size):
                with open_member() as source:
                    _write(source, target)
    except _BROKEN_ARCHIVE as error:
        raise DownloadError(
            f"{archive} is broken ({error}): delete it and fetch it again"
        ) from None
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
            shutil.copyfileobj(source, file, _BLOCK)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
