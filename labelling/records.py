"""What is done: a record of every target, which tells the content that its results belong to."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import BROKEN, digest, parse_json
from common.logger import write_json
from common.video_io import list_frames

RECORDS = "records"
_SUM = "sha256"
"""Of the rest of a record, so that no half of one and none of another program is taken for ours."""


@dataclass(frozen=True)
class Source:
    """A picture, a video file or a folder of frames, and what was in it."""

    path: str
    """Absolute."""
    size: int
    """Bytes."""
    modified: int
    """When, in nanoseconds; of a folder, its latest frame."""
    sha256: str
    """Of a folder: of the lines "SUM  NAME" of all frames."""

    @classmethod
    def of(cls, path: Path) -> "Source":
        """Look at a file or a folder of frames.

        Raises:
            UsageError: it is missing or cannot be read, or is a folder without frames.
        """
        try:
            return cls(str(path), *_size_and_time(path), _checksum(path))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error

    def is_unchanged(self, whole: bool) -> bool:
        """Whether the content is still there.

        Args:
            whole: compare all of it, also where neither size nor time have changed.
        """
        path = Path(self.path)
        try:
            size, modified = _size_and_time(path)
            if size != self.size:
                return False
            trusted = not whole and modified == self.modified
            return trusted or _checksum(path) == self.sha256
        except (OSError, UsageError):
            return False


@dataclass(frozen=True)
class Record:
    """The results of one target."""

    name: str
    """What its files are called."""
    source: Source
    frames: list[dict[str, Any]]
    """An entry of coco.json for each frame, or for the picture: "image" and "annotations"."""
    is_video: bool
    presence_calibrated: bool
    """Whether the scores are probabilities."""


def record_path(folder: Path, name: str) -> Path:
    """Where the record of that name lies in the folder of all results."""
    return folder / RECORDS / f"{name}.json"


def write_record(folder: Path, record: Record) -> None:
    """Write a record, which says that all other files of the target are written.

    Raises:
        UsageError: it cannot be written.
    """
    content = asdict(record)
    path = record_path(folder, content.pop("name"))
    write_json(path, {**content, _SUM: _sum(content)})


def read_record(folder: Path, name: str) -> Record | None:
    """The record of that name; None where there is none, or none that `write_record` wrote."""
    try:
        content = parse_json(record_path(folder, name).read_bytes())
        if content.pop(_SUM) != _sum(content):
            return None
        return Record(name=name, **{**content, "source": Source(**content["source"])})
    except (OSError, *BROKEN):
        return None


def read_records(folder: Path) -> Iterator[tuple[str, Record | None]]:
    """Name and content of every record in the folder of all results, in a fixed order."""
    root = folder / RECORDS
    for path in sorted(root.rglob("[!.]*.json")):
        name = path.relative_to(root).as_posix().removesuffix(".json")
        yield name, read_record(folder, name)


def _sum(content: dict[str, Any]) -> str:
    """Of JSON values; the same before they are written and after they are read."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return list_frames(path) if path.is_dir() else [path]


def _size_and_time(path: Path) -> tuple[int, int]:
    states = [file.stat() for file in _files(path)]
    return sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)


def _checksum(path: Path) -> str:
    if not path.is_dir():
        return digest(path)
    lines = [f"{digest(file)}  {file.name}\n" for file in _files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
