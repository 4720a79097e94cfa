"""Fetching a file so that an interruption costs nothing and half of it is never taken for all."""

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock
from httpx2 import TransportError
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get

from common.errors import UsageError
from common.files import publish

_TIMEOUT = 60
"""Seconds without an answer after which a connection is given up."""

Digest = tuple[str, str]
"""Kind of a hash, "md5" or "sha256", and all of it or its first characters, in hexadecimal."""


def content_length(address: str, headers: Mapping[str, str] | None = None) -> int | None:
    """The bytes that a server announces for a file; None where it does not say.

    Raises:
        OSError: the server cannot be reached or refuses the file.
    """
    head = urllib.request.Request(address, method="HEAD", headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(head, timeout=_TIMEOUT) as response:
            length = response.headers["Content-Length"]
    except OSError as error:
        raise OSError(f"{address}: {reason(error)}") from error
    return None if length is None else int(length)


def download(
    address: str,
    path: Path,
    size: int | None = None,
    digest: Digest | None = None,
    headers: Mapping[str, str] | None = None,
    check: Callable[[Path], str | None] = lambda part: None,
) -> None:
    """Fetch a file with a progress bar, continuing where an earlier call stopped.

    What has arrived lies in `<path>.part`; only a file of the announced size and hash gets the
    name `path`. A file that is there already is not fetched again, also when another process
    fetches it meanwhile.

    Args:
        size: bytes; None: the server is asked. Where it does not say, nothing can be continued.
        digest: what its publisher says of its content.
        headers: to be sent along, such as who asks.
        check: says what is wrong with all that has arrived, if anything, before it is taken.

    Raises:
        OSError: the server does not answer as it should, what it gives is something else, or the
            file cannot be written.
        UsageError: the disk has too little room.
    """
    if path.is_file():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    lock = path.with_name(f".{path.name}.lock")
    with FileLock(lock):
        if not path.is_file():
            part = path.with_name(f"{path.name}.part")
            _complete(part, address, size, dict(headers or {}), path.name)
            problem = None if digest is None else _other_digest(part, digest)
            problem = problem or check(part)
            if problem is not None:
                part.unlink()
                raise OSError(f"{address}: what came {problem}; run the same again to try anew")
            publish(part, path)
    lock.unlink(missing_ok=True)


def _complete(
    part: Path, address: str, size: int | None, headers: dict[str, str], displayed_name: str
) -> None:
    """Fetch what is missing of a file."""
    if size is None:
        size = content_length(address, headers)
    try:
        with part.open("ab") as file:
            if size is None or file.tell() > size:  # nothing to compare with, or another file
                file.truncate(0)
                file.seek(0)
            have = file.tell()
            _refuse_too_large(part, (size or 0) - have)
            http_get(
                address,
                file,
                resume_size=have,
                headers=headers,
                expected_size=size,
                displayed_filename=displayed_name,
            )
    except (OSError, TransportError) as error:
        raise OSError(f"{address}: {reason(error)}{_what_is_kept(part, size)}") from error


def has_digest(path: Path, digest: Digest) -> bool:
    """Whether the hash of a file's content is, or begins with, the one that is given."""
    kind, expected = digest
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
    return found.hexdigest().startswith(expected.lower())


def _other_digest(part: Path, digest: Digest) -> str | None:
    kind = "SHA-256" if digest[0] == "sha256" else "MD5"
    return None if has_digest(part, digest) else f"has another {kind} than the published one"


def _refuse_too_large(part: Path, size: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if size > free:
        raise UsageError(
            f"{part.parent} has {free / 1e9:.1f} GB of room, the download needs {size / 1e9:.1f} GB"
        )


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, HfHubHTTPError):
        return f"HTTP Error {error.response.status_code}: {error.response.reason_phrase}"
    if isinstance(error, TransportError):
        return f"no connection ({str(error) or type(error).__name__})"
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return f"no connection ({error.reason})"
    if "Consistency check failed" in str(error):  # http_get's, which names flags of its library
        return "the connection ended too early or too late"
    return (str(error) or type(error).__name__).splitlines()[0]


def _what_is_kept(part: Path, size: int | None) -> str:
    """What a second call can do with what has arrived; nothing is left of nothing."""
    if not part.is_file() or part.stat().st_size == 0:
        part.unlink(missing_ok=True)
        return ""
    if size is None:
        return ". Run the same again to fetch it anew"
    return ". What has arrived is kept: run the same again to continue"
