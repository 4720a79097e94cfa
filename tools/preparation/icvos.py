"""IC-VOS: fetch it from its public place, and compare what is there with the paper's numbers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from httpx2 import TransportError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from common.download import Digest, download
from common.errors import UsageError
from data.reader import Description
from data.videos import FRAMES, MASKS
from tools.preparation.archives import extract, member_names
from tools.preparation.inventory import differences
from tools.preparation.steps import DOWNLOADS, collected

FOLDER = "IC-VOS"
ENDPOINT = "https://huggingface.co"
REPOSITORY = "zaplm/IC-VOS"
ADDRESS = f"{ENDPOINT}/datasets/{REPOSITORY}"
_ARCHIVE = re.compile(r"ic[-_ ]?vos[^/]*\.(zip|tar|tar\.gz|tgz)$", re.IGNORECASE)
"""The place has archives of COCO's and VOC's masks, too, which `tools.prepare` makes itself."""
_VIDEO = re.compile(rf"^(?P<before>(?:.*/)?)(?P<video>[^/]+)/(?:{FRAMES}|{MASKS})/")


@dataclass(frozen=True)
class PublicFile:
    """A file of the public place."""

    path: str
    size: int
    digest: Digest | None


def prepare_icvos(root: Path, wanted: bool, endpoint: str = ENDPOINT) -> list[str]:
    """Fetch IC-VOS if that is wanted and it is not there, count it, and return what is wrong.

    Args:
        root: the folder that contains its own.
    """
    from tools.icvos import statistics  # brings PyTorch, which processes that convert go without

    problems: list[str] = []
    folder = root / FOLDER
    if wanted and not folder.is_dir():
        with collected(problems, f"fetch {FOLDER}"):
            for file in public_files(endpoint):
                path = root / DOWNLOADS / PurePosixPath(file.path).name
                address = f"{endpoint}/datasets/{REPOSITORY}/resolve/main/{file.path}"
                download(address, path, file.size, file.digest)
                extract(path, root, places_of(path))
    if not folder.is_dir():
        return [*problems, f"missing: {folder}, from {ADDRESS}"]
    with collected(problems, "count videos"):
        found, wrong = statistics.count(folder)
        print(statistics.describe(found))
        problems += [f"{video}: {text}" for video, text in wrong.items()]
        if not Description.read(folder).generated:
            counted = {key: statistics.PAPER[key] for key in ("videos", "frames", "classes")}
            problems += differences(found, counted)
    return problems


def public_files(endpoint: str) -> list[PublicFile]:
    """The archives of IC-VOS in its public place.

    Raises:
        UsageError: the place cannot be reached, or has no archive of that name.
    """
    try:
        tree = HfApi(endpoint=endpoint).list_repo_tree(
            REPOSITORY, repo_type="dataset", recursive=True
        )
        files = [file for file in tree if isinstance(file, RepoFile)]
    except (HfHubHTTPError, TransportError, OSError) as error:
        raise UsageError(f"{endpoint}/datasets/{REPOSITORY} cannot be listed: {error}") from None
    found = [
        PublicFile(file.path, file.size, file.lfs and ("sha256", file.lfs.sha256))
        for file in files
        if _ARCHIVE.search(file.path)
    ]
    if not found:
        names = ", ".join(file.path for file in files) or "nothing"
        raise UsageError(
            f"no archive there is called IC-VOS; there are {names}. Fetch the right one by hand "
            f"and unpack it as {FOLDER}"
        )
    return found


def places_of(archive: Path) -> dict[str, str]:
    """Where the videos of an archive go, whatever folders they lie in; see `extract`.

    Raises:
        UsageError: it holds no video in the layout of IC-VOS, or the archive is broken.
    """
    found = dict(_videos(archive))
    if not found:
        raise UsageError(f"{archive} holds no <video>/{FRAMES}/ and <video>/{MASKS}/")
    return found


def _videos(archive: Path) -> Iterator[tuple[str, str]]:
    for name in member_names(archive):
        if match := _VIDEO.match(name):
            video = match["video"]
            yield f"{match['before']}{video}/", f"{FOLDER}/{video}/"
