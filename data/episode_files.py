"""Files of episodes: a header that says what they were drawn for, and an episode a line."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import UsageError
from common.files import BROKEN, parse_json, write_atomically
from data.benchmarks import EpisodeKey


def _lines(keys: Sequence[EpisodeKey]) -> list[str]:
    return [json.dumps([key.class_id, key.query, list(key.support)]) for key in keys]


def episode_hash(keys: Sequence[EpisodeKey]) -> str:
    """A SHA-256 of the episodes in their order, in hexadecimal."""
    return hashlib.sha256("\n".join(_lines(keys)).encode()).hexdigest()


@dataclass(frozen=True)
class EpisodeHeader:
    """The first line of an episode file: what the episodes were drawn for, and how."""

    benchmark: str
    fold: int
    shots: int
    seed: int
    episodes: int
    sha256: str
    sampler: str | None = "image"
    """Files that do not name it are older than the other sampler. None: neither drew the keys."""


def write_keys(
    path: Path,
    keys: Sequence[EpisodeKey],
    *,
    benchmark: str,
    fold: int,
    seed: int,
    sampler: str | None = None,
) -> None:
    """Write episodes to a file that `read_keys` verifies: a header line, then a line for each."""
    header = EpisodeHeader(
        benchmark, fold, len(keys[0].support), seed, len(keys), episode_hash(keys), sampler
    )
    facts = {name: value for name, value in asdict(header).items() if value is not None}
    text = "\n".join([json.dumps(facts), *_lines(keys)]) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text))


def is_episode_file(path: Path) -> bool:
    """Whether a file says of itself that `write_keys` wrote it."""
    try:
        with path.open() as file:
            return "sha256" in parse_json(file.readline())
    except (OSError, *BROKEN):
        return False


def read_header(path: Path) -> EpisodeHeader:
    """Read what an episode file says of itself.

    Raises:
        UsageError: the file is missing or in another format.
    """
    return _read_file(path)[0]


def read_keys(
    path: Path, *, benchmark: str, fold: int, shots: int, sampler: str | None = None
) -> list[EpisodeKey]:
    """Read episodes that `write_keys` wrote.

    Args:
        sampler: the one that must have drawn them; None takes any.

    Raises:
        UsageError: the file is missing, in another format, changed, or made for another
            benchmark, fold, number of shots or by another sampler.
    """
    header, keys = _read_file(path)
    wanted = {"benchmark": benchmark, "fold": fold, "shots": shots}
    if sampler is not None:
        wanted["sampler"] = sampler
    differing = [
        f"{name} {getattr(header, name)} instead of {value}"
        for name, value in wanted.items()
        if getattr(header, name) != value
    ]
    if differing:
        raise UsageError(f"{path} was made for {', '.join(differing)}")
    if episode_hash(keys) != header.sha256:
        raise UsageError(f"{path} was changed: its episodes do not have the hash in its header")
    return keys


def _read_file(path: Path) -> tuple[EpisodeHeader, list[EpisodeKey]]:
    try:
        first, *rest = path.read_text().splitlines()
        header = EpisodeHeader(**parse_json(first))
        keys = []
        for line in rest:
            class_id, query, support = parse_json(line)
            keys.append(EpisodeKey(int(class_id), str(query), tuple(map(str, support))))
    except OSError as error:
        raise UsageError(f"cannot read the episode file {path}: {error.strerror}") from None
    except BROKEN:
        raise UsageError(f"{path} is not an episode file") from None
    return header, keys
