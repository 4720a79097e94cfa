"""Writing files so that a reader finds the old content or the new, never half of it."""

import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: weights, shipped checkpoints and scripts are found from here."""

BROKEN = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What taking values out of JSON raises where they are not what they should be."""

_BEGUN = time.time()
_NUMBERS = Path("/proc/self/ns/pid")
"""On Linux: within which processes are numbered; containers have numbers of their own."""
_HOST = hashlib.sha256(
    f"{socket.gethostname()} {_NUMBERS.exists() and os.readlink(_NUMBERS)}".encode()
).hexdigest()[:6]
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{6})-(\d+)-[0-9a-f]{8}(\.\w+)?")
"""Of a temporary file: the machine and the process that write it."""
_STEM = 40
"""So many characters of a name are in that of its temporary file, which may not get too long."""


def temporary_beside(path: Path) -> Path:
    """A free hidden name in the folder of `path`, which is made, with the same suffix.

    It says which process of which machine writes there, see `remove_leftovers`.

    Raises:
        UsageError: the folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    owner = f"{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem[:_STEM]}.{owner}{path.suffix}")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files whose processes were killed from a folder and all below it.

    Those of other machines stay: nothing tells whether their processes run.
    """
    for path in folder.rglob(".*"):
        known = _TEMPORARY.fullmatch(path.name)
        if known and known[1] == _HOST and was_killed(int(known[2]), path):
            with suppress(OSError):  # another process may remove it, or it is not ours to remove
                path.unlink()


def was_killed(process: int, path: Path) -> bool:
    """Whether the process of this machine that made a file or folder runs no more."""
    try:
        if process == os.getpid():  # numbers come again, in containers always the same
            return path.lstat().st_mtime < _BEGUN
        os.kill(process, 0)
    except (ProcessLookupError, FileNotFoundError):
        return True
    except (OSError, OverflowError):
        return False
    return False


def publish(temporary: Path, path: Path) -> None:
    """Flush `temporary` to the disk and put it in the place of `path` in one step."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in the place of `path`.

    When `write` fails, nothing is left behind and `path` is as it was. Others may read the file as
    the umask says, whatever `write` does.

    Args:
        path: the file to make or replace; missing folders are made.
        write: called with the temporary file's name, which has the suffix of `path`.

    Raises:
        UsageError: the file cannot be written: no right, no room, or a folder in its place.
    """
    temporary = temporary_beside(path)
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode  # a library may put a private file in its place
        write(temporary)
        temporary.chmod(mode)
        publish(temporary, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is no JSON, or is nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
