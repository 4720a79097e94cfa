"""Check a data set, make what can be made of it, and download what has a public address.

Say what is there and make the masks:   python -m tools.prepare pascal --root Datasets
Fetch what is missing first:            python -m tools.prepare coco --root Datasets --download

The exit code is 0 when the data set is complete, 1 when something is missing, failed or differs
from what the paper used, 2 for wrong use. Every step goes on where an interrupted one stopped.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.cli import run_script
from common.errors import UsageError
from data.class_index import name_some
from data.classes import COCO_CLASSES, FOLDS, Role
from data.coco import Coco
from data.pascal import LARGEST_LIST, PAPER_LIST, Pascal
from data.reader import DESCRIPTION_FILE, Reader
from tools.convert import (
    PascalNames,
    make_augmented_masks,
    make_class_masks,
    write_image_list,
)
from tools.download import DownloadError, download, extract
from tools.inventory import (
    COCO_COUNTS,
    COCO_PARTS,
    IC_VOS_ADDRESS,
    IC_VOS_COUNTS,
    PASCAL_COUNTS,
    PASCAL_PARTS,
    Archive,
    Part,
    count_lists,
    describe,
    differences,
    lacking,
    list_videos,
    take_stock,
)

FOLDERS = {"pascal": "VOC2012", "coco": "COCO2014", "icvos": "IC-VOS"}
DOWNLOADS = "downloads"
"""The folder below the root that keeps the archives; it can be deleted afterwards."""


@dataclass(frozen=True)
class PrepareOptions:
    """What is prepared and where it lies."""

    data_set: str
    """pascal, coco or icvos."""
    root: Path
    """The folder that contains VOC2012, COCO2014 and IC-VOS."""
    download: bool
    """Fetch what is missing and has a public address."""
    workers: int | None
    """Processes for conversions and scans; None takes one per processor."""

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        folder = FOLDERS[self.data_set]
        if self.root.exists() and not self.root.is_dir():
            found.append(f"--root: {self.root} is not a folder")
        elif not self.root.exists() and not self.download:
            found.append(
                f"--root: no such folder: {self.root}. Name the folder that contains {folder}"
                + (", or add --download to make it" if self.data_set != "icvos" else "")
            )
        elif self.root.resolve().name == folder and not (self.root / folder).exists():
            found.append(f"--root: name the folder that contains {folder}: {self.root.parent}")
        if self.workers is not None and self.workers < 1:
            found.append(f"--workers must be at least 1, not {self.workers}")
        if self.download and self.data_set == "icvos":
            found.append(
                f"--download: IC-VOS has no single public file. Fetch it from {IC_VOS_ADDRESS} and "
                f"unpack it as {self.root / folder}"
            )
        return found


def parse_options(arguments: list[str] | None = None) -> PrepareOptions:
    """Read the command line.

    Raises:
        UsageError: options cannot be used; all reasons are named.
    """
    summary, details = (__doc__ or "").split("\n", 1)
    parser = argparse.ArgumentParser(
        prog="python -m tools.prepare",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_set", choices=tuple(FOLDERS), help="which data set")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("Datasets"),
        help="the folder that contains VOC2012, COCO2014 and IC-VOS (default: %(default)s)",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch what is missing (VOC and SBD: 3.4 GB, COCO: 20 GB)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: one per processor)"
    )
    options = PrepareOptions(**vars(parser.parse_args(arguments)))
    if problems := options.problems():
        raise UsageError("\n".join(problems))
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    prepare = {"pascal": prepare_pascal, "coco": prepare_coco, "icvos": prepare_icvos}
    problems = prepare[options.data_set](options)
    if problems:
        print(f"{FOLDERS[options.data_set]} is not complete or differs from the paper's data:")
        for problem in problems:
            print(f"  {problem}")
        return 1
    print(f"{FOLDERS[options.data_set]} is complete.")
    return 0


def prepare_pascal(options: PrepareOptions) -> list[str]:
    """Prepare VOC2012 and return what is wrong with it."""
    voc, sbd = options.root / "VOC2012", options.root / "SBD"

    def reader(fold: int) -> Pascal:
        return Pascal(voc, fold, training_list=PAPER_LIST, workers=options.workers)

    if (voc / DESCRIPTION_FILE).is_file():
        return _check_generated(voc, lambda fold: Pascal(voc, fold, workers=options.workers))
    problems = fetch(options, PASCAL_PARTS)
    problems += attempt(
        "make class masks and lists", lambda: make_pascal(voc, sbd, options.workers)
    )
    problems += report(options.root, PASCAL_PARTS)
    return problems + check_counts(reader, ("train", "test"), PASCAL_COUNTS)


def make_pascal(voc: Path, sbd: Path, workers: int | None) -> list[str]:
    """Make the class masks and training lists that are not there, and return what failed."""
    made = {part.path for part in PASCAL_PARTS if isinstance(part.source, str)}
    missing = {
        presence.part.path
        for presence in lacking(take_stock(voc.parent, PASCAL_PARTS))
        if presence.part.path in made
    }
    if not missing:
        return []
    names = PascalNames.read(voc, sbd)
    problems = []
    if "VOC2012/SegmentationClassAug" in missing:
        problems = make_augmented_masks(voc, sbd, names, workers)
    for name, chosen in (
        (PAPER_LIST, names.paper_training),
        (LARGEST_LIST, names.largest_training),
    ):
        path = voc / "ImageSets" / "Segmentation" / f"{name}.txt"
        if not path.exists():  # a list that somebody else made is reported, never replaced
            write_image_list(path, chosen)
    return problems


def prepare_coco(options: PrepareOptions) -> list[str]:
    """Prepare COCO2014 and return what is wrong with it."""
    coco = options.root / "COCO2014"

    def reader(fold: int) -> Coco:
        return Coco(coco, fold, workers=options.workers)

    if (coco / DESCRIPTION_FILE).is_file():
        return _check_generated(coco, reader)
    problems = fetch(options, COCO_PARTS)
    missing = {presence.part.path for presence in lacking(take_stock(options.root, COCO_PARTS))}
    for name in ("train2014", "val2014"):
        instances = coco / "annotations" / f"instances_{name}.json"
        folder = coco / "annotations" / name
        if f"COCO2014/annotations/{name}" in missing and instances.is_file():
            problems += attempt(
                "make class masks",
                lambda source=instances, place=folder: make_class_masks(
                    source, place, options.workers
                ),
            )
    problems += report(options.root, COCO_PARTS)
    return problems + check_counts(reader, ("test",), COCO_COUNTS)


def prepare_icvos(options: PrepareOptions) -> list[str]:
    """List what is there of IC-VOS and return what is wrong with it."""
    root = options.root / "IC-VOS"
    if not root.is_dir():
        return [f"missing: {root}, from {IC_VOS_ADDRESS} (by hand)"]
    entries, problems = list_videos(root)
    for entry in entries:
        print(
            f"  {entry.video}: class {entry.class_id} ({COCO_CLASSES[entry.class_id]}), "
            f"{entry.frames} frames, {entry.masks} masks"
        )
        problems += [f"{entry.video}, class {entry.class_id}: {text}" for text in entry.problems]
    frames = {entry.video: entry.frames for entry in entries}
    found = {
        "videos": len(frames),
        "frames": sum(frames.values()),
        "classes": len({entry.class_id for entry in entries}),
    }
    print(", ".join(f"{count} {key}" for key, count in found.items()))
    return problems + differences(found, IC_VOS_COUNTS)


def fetch(options: PrepareOptions, parts: tuple[Part, ...]) -> list[str]:
    """Download and unpack the archives of missing parts when that is asked for."""
    if not options.download:
        return []
    archives: dict[str, Archive] = {}
    for presence in lacking(take_stock(options.root, parts)):
        if isinstance(presence.part.source, Archive):
            archives[presence.part.source.name] = presence.part.source
    problems = []
    for archive in archives.values():
        problems += attempt(
            f"fetch {archive.name}", lambda archive=archive: _fetch_one(archive, options.root)
        )
    return problems


def _fetch_one(archive: Archive, root: Path) -> list[str]:
    path = root / DOWNLOADS / archive.name
    download(archive.address, path, archive.md5)
    extract(path, root, archive.places)
    return []


def attempt(purpose: str, step: Callable[[], list[str]]) -> list[str]:
    """Do a step; what stops it is a problem like those that it returns, and others go on."""
    try:
        problems = step()
    except (UsageError, DownloadError) as error:
        return [f"cannot {purpose}: {error}"]
    return [f"cannot {purpose} for {len(problems)} images: {name_some(problems)}"] * bool(problems)


def report(root: Path, parts: tuple[Part, ...]) -> list[str]:
    """Print what is there and what is missing; returns a line if a part is not right."""
    stock = take_stock(root, parts)
    print(f"{root}:")
    print("\n".join(describe(stock)))
    count = len(lacking(stock))
    return [f"{count} of {len(parts)} parts are not as they should be, see above"] if count else []


def check_counts(
    reader: Callable[[int], Reader], roles: tuple[Role, ...], expected: dict[str, int]
) -> list[str]:
    """Print how many images the folds have and return what differs from the paper's lists."""
    found: dict[str, int] = {}
    problems: dict[str, None] = {}
    for role in roles:
        for fold in FOLDS:
            try:
                lists = reader(fold).class_lists(role, role)
            except UsageError as error:
                problems[f"cannot count images: {error}"] = None
                continue
            found |= count_lists(fold, role, lists)
            print(f"  fold {fold} {role}: {len(lists)} images")
    counted = {key: count for key, count in expected.items() if " ".join(key.split()[:3]) in found}
    return [*problems, *differences(found, counted)]


def _check_generated(folder: Path, reader: Callable[[int], Reader]) -> list[str]:
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text())
    except (OSError, ValueError) as error:
        return [f"cannot read {folder / DESCRIPTION_FILE}: {error}"]
    print(f"{folder} holds generated data ({description}); the paper's counts do not apply")
    return check_counts(reader, ("train", "test"), {})


if __name__ == "__main__":
    raise SystemExit(run_script(main))
