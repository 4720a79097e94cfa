"""The official weights of the foundation models and backbones: which are there, and fetch them.

    python -m tools.weights list
    python -m tools.weights fetch vit_h vgg16

A file goes to the folder for weights when it is complete and has the hash in its name, where there
is one. Files that no program can fetch are named with where to get them.
"""

import argparse
import hashlib
import re
from pathlib import Path

from torch.hub import download_url_to_file

from common.cli import run_script
from common.errors import UsageError
from common.files import publish, temporary_beside
from model.weights import OFFICIAL, weights_folder

_HASH = re.compile(r"([-_])([0-9a-f]{6,})\.pth$")
"""At the end of a name: the start of its SHA-256 (torchvision: after "-") or MD5 (SAM: "_")."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("list", "fetch"), help="say what is there, or fetch")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models whose file is fetched")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        default=weights_folder(),
        help="folder of official weights (default: DCSAM_WEIGHTS, else weights/)",
    )
    flags = parser.parse_args()
    unknown = [name for name in flags.names if name not in OFFICIAL]
    if unknown or bool(flags.names) != (flags.action == "fetch"):
        parser.error(f"fetch takes names of models: {', '.join(OFFICIAL)}")
    if flags.action == "fetch":
        for name in flags.names:
            print(fetch(name, flags.weights))
        return 0
    for name, official in OFFICIAL.items():
        state = "there" if (flags.weights / official.file).is_file() else "absent"
        how = official.address or f"by hand, from {official.source}"
        print(f"{name:<22}{official.file:<52}{state:<8}{how}")
    return 0


def fetch(name: str, folder: Path) -> Path:
    """Fetch a model's file unless it is there; returns its path.

    Raises:
        UsageError: it has no address, or could not be fetched whole.
    """
    official = OFFICIAL[name]
    file, address = official.file, official.address
    path = folder / file
    if path.is_file():
        return path
    if address is None:
        raise UsageError(f"get {file} from {official.source} and save it as {path}")
    temporary = temporary_beside(path)
    try:
        download_url_to_file(address, str(temporary))
        if not has_hash_of_name(temporary, file):
            raise UsageError(f"what {address} gave does not have the hash in its name")
        publish(temporary, path)
    except OSError as error:  # urllib's errors too
        raise UsageError(f"cannot fetch {address} to {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def has_hash_of_name(path: Path, name: str) -> bool:
    """Whether a file's content has the hash with which its name ends, if there is one."""
    found = _HASH.search(name)
    if not found:
        return True
    kind = "sha256" if found[1] == "-" else "md5"
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest().startswith(found[2])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
