"""Official files brought to the folder of weights: from caches of this machine, or fetched.

Nothing is fetched that was not asked for, and before the first byte one line says what comes, how
large it is, under which licence, from where and to which folder.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from httpx2 import TransportError
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers

from common.download import Digest, content_length, download, has_digest, reason
from common.errors import UsageError
from common.files import publish, temporary_beside
from model.file_check import fault
from model.official import OFFICIAL
from model.official_file import HubFile, OfficialFile, readable_size
from model.official_paths import how_to_get, official_path, weights_folder


class FetchError(OSError):
    """A file could not be fetched whole; what has arrived is kept where that is of use."""


def ensure(names: Iterable[str], fetch: bool) -> None:
    """Have official files in the folder of weights before a model is built.

    A file in the cache of torch.hub, timm or huggingface_hub is linked, or copied, into the folder.

    Args:
        names: of models, keys of `OFFICIAL`, such as `files()` of a method's options gives.
        fetch: whether what is missing may be fetched.

    Raises:
        UsageError: files are missing and may not, or cannot, be fetched.
    """
    missing = [name for name in dict.fromkeys(names) if not official_path(name).is_file()]
    missing = [name for name in missing if take_from_cache(name) is None]
    by_hand = [name for name in missing if OFFICIAL[name].by_hand]
    if missing and not fetch:
        raise UsageError(f"official weights are missing: {how_to_get(missing)}")
    if by_hand:
        raise UsageError(f"no program can fetch these weights: {how_to_get(by_hand)}")
    for name in missing:
        try:
            fetch_official(name)
        except FetchError as error:
            raise UsageError(str(error)) from error


def absent(names: Iterable[str]) -> tuple[str, ...]:
    """Which of these official files are neither in the folder of weights nor in a cache.

    The others can be had without network: `ensure` links them.
    """
    return tuple(
        name
        for name in dict.fromkeys(names)
        if not official_path(name).is_file() and cached_file(OFFICIAL[name]) is None
    )


def fetch_official(name: str) -> Path:
    """Bring a model's official file to the folder of weights unless it is there; returns its path.

    Args:
        name: a key of `OFFICIAL`.

    Raises:
        FetchError: the server does not give it whole, or gives another file.
        UsageError: a person has to get it, accept terms first, or make room.
    """
    official = OFFICIAL[name]
    present = present_file(official)
    if present is not None:
        problem = fault(official, present)
        if problem is None:
            return present
        print(f"{present} {problem}: it is fetched anew", file=sys.stderr)
    taken = take_from_cache(name)
    if taken is not None:
        return taken
    if official.by_hand:
        raise UsageError(f"no program can fetch these weights: {how_to_get([name])}")
    return _download(official, replaced=present)


def present_file(official: OfficialFile) -> Path | None:
    """The file in the folder that holds these weights, under the best of its names."""
    places = (weights_folder() / name for name in official.names)
    return next((path for path in places if path.is_file()), None)


def cached_file(official: OfficialFile) -> tuple[Path, str] | None:
    """A whole file with these weights in a cache of this machine, and its name in our folder.

    Looked through are torch.hub's checkpoints and the hub's cache, which timm uses too.
    """
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    found = [(checkpoints / name, name) for name in (official.file, *official.other_names)]
    for hub in official.hubs:
        path = try_to_load_from_cache(hub.repository, hub.file)
        if isinstance(path, str):
            found.append((Path(path), hub.saved_as))
    whole = (
        (path, name)
        for path, name in found
        if path.is_file() and fault(official, path, name) is None
    )
    return next(whole, None)


def take_from_cache(name: str) -> Path | None:
    """Link, or copy, a model's official file from a cache of this machine into the folder.

    Raises:
        UsageError: the folder cannot be written to.
    """
    official = OFFICIAL[name]
    found = cached_file(official)
    if found is None:
        return None
    source, saved_as = found
    digest = official.hash_of(saved_as)
    if digest is not None and not has_digest(source, digest):
        print(f"{source} is not used: its content has another hash", file=sys.stderr)
        return None
    path = weights_folder() / saved_as
    temporary = temporary_beside(path)
    try:
        _link_or_copy(source.resolve(), temporary)
        publish(temporary, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{name}: {source} is used, as {path} ({official.licence})", file=sys.stderr)
    return path


def _link_or_copy(source: Path, place: Path) -> None:
    """A second name costs no room, but is not to be had on another disk."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


@dataclass(frozen=True)
class _Source:
    """Where a server has a file, and what it says of it."""

    address: str
    size: int | None
    digest: Digest | None
    headers: dict[str, str] = field(default_factory=dict)


def _download(official: OfficialFile, replaced: Path | None) -> Path:
    folder = weights_folder()
    path = folder / official.file
    try:
        source = _ask(official)
        size = official.size_text if source.size is None else readable_size(source.size)
        print(
            f"fetching {official.file}: {size}, licence: {official.licence}, from "
            f"{official.source} to {folder}",
            file=sys.stderr,
        )
        if replaced is not None:
            replaced.unlink()
        download(
            source.address,
            path,
            source.size,
            source.digest,
            source.headers,
            check=lambda part: fault(official, part, official.file),
        )
    except OSError as error:
        raise FetchError(
            f"cannot fetch {official.described} to {folder}: {reason(error)}"
        ) from error
    return path


def _ask(official: OfficialFile) -> _Source:
    """What the server says before the first byte."""
    if official.address is None:
        return _ask_hub(official, official.hubs[0])
    size = content_length(official.address)
    if None not in (size, official.size) and size != official.size:
        raise OSError(f"the server offers {size} bytes where {official.size} are published")
    return _Source(official.address, size, official.hash_of(official.file))


def _ask_hub(official: OfficialFile, hub: HubFile) -> _Source:
    try:
        known = get_hf_file_metadata(hf_hub_url(hub.repository, hub.file))
    except (OSError, TransportError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            raise UsageError(_explain_gate(official, hub)) from error
        raise OSError(f"{hub.page}: {reason(error)}") from error
    address = hf_hub_url(hub.repository, hub.file, revision=known.commit_hash)
    large = known.etag is not None and len(known.etag) == 64  # small files have git's SHA-1
    digest = ("sha256", known.etag) if large else official.hash_of(official.file)
    return _Source(address, known.size, digest, build_hf_headers())


def _explain_gate(official: OfficialFile, hub: HubFile) -> str:
    """The two steps that only a person can do, and the way around them."""
    files = ", ".join(official.other_names or (official.file,))
    return (
        f"the hub gives {official.file} only to people who accepted its terms "
        f"({official.licence}):\n"
        f"1. log in at {hub.page} and accept them there\n"
        "2. run `hf auth login` with a token of that account, then the same again\n"
        f"Or get {files} by hand from {official.page} and put it into {weights_folder()}"
    )
