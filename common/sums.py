"""SHA256SUMS: the hashes of a folder's files, in the format of `sha256sum`."""

import re
from collections.abc import Iterable
from pathlib import Path

from common.errors import UsageError
from common.files import digest, write_atomically

SUMS = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\]+)")


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the hashes of these files of a folder.

    Raises:
        UsageError: the file cannot be written.
    """
    text = "".join(f"{digest(folder / name)}  {name}\n" for name in sorted(names))
    write_atomically(folder / SUMS, lambda place: place.write_text(text))


def read_sums(folder: Path) -> dict[str, str]:
    """Name of a file in the folder -> its hash.

    Raises:
        UsageError: the list is missing, or a line is no hash and name.
    """
    path = folder / SUMS
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if not match or match[2] in (".", "..", SUMS) or match[2] in found:
            raise UsageError(f"{path}, line {number}, is not the hash and name of one file")
        found[match[2]] = match[1]
    return found


def check_sum(path: Path) -> None:
    """Refuse a file that the SHA256SUMS beside it, if any, lists with another hash.

    Raises:
        UsageError: the file differs, or the list cannot be read.
    """
    if (path.parent / SUMS).is_file():
        listed = read_sums(path.parent).get(path.name)
        if listed is not None and digest(path) != listed:
            raise UsageError(
                f"{path} differs from what {SUMS} beside it says: fetch it again, or delete "
                f"{SUMS} if you changed the file yourself"
            )
