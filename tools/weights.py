"""The official weights of foundation models, backbones and methods: what is there, and fetch it.

    python -m tools.weights list
    python -m tools.weights fetch dinov3_l vit_h
    python -m tools.weights verify

A file goes to the folder for weights when it is complete and has the hash that is published, where
there is one; what an interrupted fetch has got is kept beside it and continued. Files in the caches
of torch.hub, timm and huggingface_hub are linked, not fetched. Files that no program can fetch are
named with where to get them. The exit code is 1 if a file could not be fetched or is broken.
"""

import argparse
from pathlib import Path

from common.cli import answer_early, run_script
from model.official import OFFICIAL


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("list", "fetch", "verify"), help="what to do")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="of models; verify: all that are there if none"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="folder of official weights (default: DCSAM_WEIGHTS, else weights/)",
    )
    flags = parser.parse_args()
    unknown = [name for name in flags.names if name not in OFFICIAL]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(OFFICIAL)}")
    if flags.names if flags.action == "list" else flags.action == "fetch" and not flags.names:
        parser.error("list takes no names, fetch at least one")
    return flags


answer_early(__name__, parse_options)

import os
import sys
from urllib.parse import urlsplit

from model.fetching import FetchError, cached_file, fetch_official, present_file
from model.file_check import fault, verdict
from model.official_file import OfficialFile
from model.official_paths import weights_folder


def main() -> int:
    flags = parse_options()
    if flags.weights is not None:
        os.environ["DCSAM_WEIGHTS"] = str(flags.weights)
    if flags.action == "list":
        return list_files()
    return fetch(flags.names) if flags.action == "fetch" else verify(flags.names)


def list_files() -> int:
    """Print a table of all official files."""
    rows = [("name", "state", "size", "from", "licence", "for")]
    for name, official in OFFICIAL.items():
        facts = official.size_text, origin(official), official.licence, official.purpose
        rows.append((name, state_of(official), *facts))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    print(f"\nin {weights_folder()}; `fetch` links what is cached by another program")
    return 0


def state_of(official: OfficialFile) -> str:
    """In a word: there, broken, begun, cached (in another program's cache) or absent."""
    present = present_file(official)
    if present is not None:
        return "there" if fault(official, present) is None else "broken"
    if cached_file(official) is not None:
        return "cached"
    return "begun" if (weights_folder() / f"{official.file}.part").is_file() else "absent"


def origin(official: OfficialFile) -> str:
    """Who gives the file, in a word or two."""
    return "by hand" if official.by_hand else urlsplit(official.source).netloc


def fetch(names: list[str]) -> int:
    """Fetch files that are not there and print where they are; go on after one that fails."""
    failed = False
    for name in names:
        try:
            print(fetch_official(name))
        except FetchError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr)
    return int(failed)


def verify(names: list[str]) -> int:
    """Read files to their end and print what they are judged by; 1 if one is broken or absent."""
    failed = False
    for name in names or OFFICIAL:
        path = present_file(OFFICIAL[name])
        if path is not None:
            whole, text = verdict(OFFICIAL[name], path)
            failed |= not whole
            print(f"{name}: {path} {'is good:' if whole else 'is BROKEN: it'} {text}")
        elif names:
            failed = True
            print(f"{name}: no file in {weights_folder()}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
