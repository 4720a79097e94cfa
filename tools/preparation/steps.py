"""The steps in which a data set is prepared: fetch what is missing, say what is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.download import download
from common.errors import UsageError
from data.class_index import name_some
from tools.preparation.archives import extract
from tools.preparation.inventory import Archive, Part, describe, lacking, take_stock

DOWNLOADS = "downloads"
"""The folder below the root that keeps the archives; it can be deleted afterwards."""


def fetch(root: Path, parts: tuple[Part, ...], wanted: bool) -> list[str]:
    """Download and unpack the archives of missing parts when that is wanted."""
    missing = lacking(take_stock(root, parts)) if wanted else []
    sources = (presence.part.source for presence in missing)
    archives = {source.name: source for source in sources if isinstance(source, Archive)}
    problems: list[str] = []
    for name, archive in archives.items():
        with collected(problems, f"fetch {name}"):
            path = root / DOWNLOADS / name
            download(archive.address, path, digest=archive.md5 and ("md5", archive.md5))
            extract(path, root, archive.places)
    return problems


@contextmanager
def collected(problems: list[str], purpose: str) -> Iterator[None]:
    """What stops a step becomes one of the problems, and the other steps go on."""
    try:
        yield
    except (UsageError, OSError) as error:
        problems.append(f"cannot {purpose}: {error}")


def summed_up(failed: list[str]) -> list[str]:
    """One problem that names the first images whose masks could not be made."""
    return [f"cannot make class masks for {len(failed)} images: {name_some(failed)}"][: len(failed)]


def lacking_paths(root: Path, parts: tuple[Part, ...]) -> set[str]:
    return {presence.part.path for presence in lacking(take_stock(root, parts))}


def report(root: Path, parts: tuple[Part, ...]) -> list[str]:
    """Print what is there and what is missing; returns a line if a part is not right."""
    stock = take_stock(root, parts)
    print(f"{root}:")
    print("\n".join(describe(stock)))
    count = len(lacking(stock))
    return [f"{count} of {len(parts)} parts are not as they should be, see above"] if count else []
