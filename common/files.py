"""Writing files so that a reader finds the old content or the new, never half of it."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: weights, shipped checkpoints and scripts are found from here."""


def temporary_beside(path: Path) -> Path:
    """A free hidden name in the folder of `path`, which is made, with the same suffix.

    Raises:
        UsageError: the folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")


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
