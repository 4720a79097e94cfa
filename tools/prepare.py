"""Check a data set, make what can be made of it, and download what has a public address.

Say what is there and make the masks:   python -m tools.prepare pascal --root Datasets
Fetch what is missing first:            python -m tools.prepare coco --root Datasets --download

The exit code is 0 when the data set is complete, 1 when something is missing, failed or differs
from what was published, 2 for wrong use. Every step goes on where an interrupted one stopped.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.cli import run_script
from common.errors import UsageError
from data.classes import FOLDS, Role
from data.coco import Coco
from data.pascal import LARGEST_LIST, PAPER_LIST, Pascal
from data.reader import DESCRIPTION_FILE, Reader
from data.semantic import LAYOUTS
from tools.preparation import icvos
from tools.preparation.annotated import ANNOTATED, check_lvis_training, prepare_annotated
from tools.preparation.convert import (
    PascalNames,
    make_augmented_masks,
    make_class_masks,
    write_image_list,
)
from tools.preparation.few_shot import FEW_SHOT_ADDRESS, prepare_few_shot
from tools.preparation.image_sets import IMAGE_SETS, prepare_image_set
from tools.preparation.inventory import (
    COCO_COUNTS,
    COCO_PARTS,
    PASCAL_COUNTS,
    PASCAL_PARTS,
    count_lists,
    differences,
)
from tools.preparation.steps import collected, fetch, lacking_paths, report, summed_up
from tools.preparation.tested import (
    FSS1000_ADDRESS,
    LVIS_ADDRESS,
    PACO_ADDRESS,
    SEMANTIC_ADDRESSES,
    SPAIR,
    SPAIR_ADDRESS,
    check_fss1000,
    check_lvis,
    check_paco,
    check_semantic,
    check_spair,
)
from tools.preparation.videos import VIDEO_SETS, check_videos

FOLDERS = {
    "pascal": "VOC2012",
    "coco": "COCO2014",
    "icvos": icvos.FOLDER,
    "fss1000": "FSS-1000",
    "few_shot_instances": "cocosplit",
    "lvis": "LVIS",
    "paco_part": "PACO",
    "spair71k": SPAIR,
    **{name: LAYOUTS[name].folder for name in SEMANTIC_ADDRESSES},
    **{name: images.reader.folder for name, images in IMAGE_SETS.items()},
    **{name: videos.folder for name, videos in VIDEO_SETS.items()},
    **{name: one.folder for name, one in ANNOTATED.items()},
}
DOWNLOADED = ("pascal", "coco", "coco2017", "ade20k", "davis", "icvos")
"""Data sets of which archives have public addresses; the others are fetched by hand."""
BY_HAND = {
    "fss1000": FSS1000_ADDRESS,
    "few_shot_instances": FEW_SHOT_ADDRESS,
    "lvis": LVIS_ADDRESS,
    "paco_part": PACO_ADDRESS,
    "spair71k": SPAIR_ADDRESS,
    **SEMANTIC_ADDRESSES,
    **{name: images.address for name, images in IMAGE_SETS.items()},
    **{name: videos.address for name, videos in VIDEO_SETS.items()},
    "objects365": ANNOTATED["objects365"].address,
}

ITSELF = " python -m tools.prepare "
"""Begins what readers name as the remedy."""


@dataclass(frozen=True)
class PrepareOptions:
    """What is prepared and where it lies."""

    data_set: str
    """One of `FOLDERS`."""
    root: Path
    """The folder that contains VOC2012, COCO2014 and the others."""
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
                + (", or add --download to make it" if self.data_set in DOWNLOADED else "")
            )
        elif self.root.resolve().name == folder and not (self.root / folder).exists():
            found.append(f"--root: name the folder that contains {folder}: {self.root.parent}")
        if self.workers is not None and self.workers < 1:
            found.append(f"--workers must be at least 1, not {self.workers}")
        if self.download and self.data_set not in DOWNLOADED:
            address = BY_HAND[self.data_set]
            found.append(
                f"--download: {folder} has no single public file. Fetch it from {address} and "
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
    parser.add_argument(
        "data_set", choices=tuple(FOLDERS), help="data set that is checked and prepared"
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("Datasets"),
        help="folder that contains VOC2012, COCO2014 and the others (default: %(default)s)",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="download what is missing (VOC and SBD: 3.4 GB, COCO 2014: 20 GB, COCO 2017: 21 GB, "
        "ADE20K: 1 GB, DAVIS: 0.8 GB, IC-VOS)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of processes that convert and scan masks (default: one per processor)",
    )
    options = PrepareOptions(**vars(parser.parse_args(arguments)))
    if problems := options.problems():
        raise UsageError("\n".join(problems))
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    prepare = {
        "pascal": prepare_pascal,
        "coco": prepare_coco,
        "icvos": lambda options: icvos.prepare_icvos(options.root, options.download),
        "fss1000": lambda options: check_fss1000(options.root),
        "few_shot_instances": lambda options: prepare_few_shot(options.root, options.workers),
        "lvis": lambda options: check_lvis(options.root) + check_lvis_training(options.root),
        **dict.fromkeys(
            ANNOTATED,
            lambda o: prepare_annotated(ANNOTATED[o.data_set], o.root, o.download, o.workers),
        ),
        "paco_part": lambda options: check_paco(options.root),
        "spair71k": lambda options: check_spair(options.root),
        **{
            name: lambda options: check_semantic(options.data_set, options.root)
            for name in SEMANTIC_ADDRESSES
        },
        **dict.fromkeys(IMAGE_SETS, lambda o: prepare_image_set(o.data_set, o.root, o.workers)),
        **dict.fromkeys(VIDEO_SETS, lambda o: check_videos(o.data_set, o.root, o.download)),
    }
    problems = prepare[options.data_set](options)
    if problems:
        print(f"{FOLDERS[options.data_set]} is not complete or differs from what was published:")
        for problem in problems:
            print(f"  {problem.partition(ITSELF)[0]}")
        print("docs/data.md shows where each file belongs.")
        return 1
    print(f"{FOLDERS[options.data_set]} is complete.")
    return 0


def prepare_pascal(options: PrepareOptions) -> list[str]:
    """Prepare VOC2012 and return what is wrong with it."""
    voc = options.root / "VOC2012"
    if (voc / DESCRIPTION_FILE).is_file():
        return check_generated(voc, partial(Pascal, voc, workers=options.workers))
    problems = fetch(options.root, PASCAL_PARTS, options.download)
    with collected(problems, "make class masks and lists"):
        problems += make_pascal(options.root, options.workers)
    problems += report(options.root, PASCAL_PARTS)
    reader = partial(Pascal, voc, training_list=PAPER_LIST, workers=options.workers)
    return problems + check_counts(reader, ("train", "test"), PASCAL_COUNTS)


def make_pascal(root: Path, workers: int | None) -> list[str]:
    """Make the class masks and training lists that are not there, and return what failed."""
    missing = lacking_paths(root, PASCAL_PARTS)
    if not any(part.path in missing and isinstance(part.source, str) for part in PASCAL_PARTS):
        return []
    voc, sbd = root / "VOC2012", root / "SBD"
    names, failed = PascalNames.read(voc, sbd), []
    if "VOC2012/SegmentationClassAug" in missing:
        failed = make_augmented_masks(voc, sbd, names, workers)
    lists = {PAPER_LIST: names.paper_training, LARGEST_LIST: names.largest_training}
    for name, chosen in lists.items():
        path = voc / "ImageSets" / "Segmentation" / f"{name}.txt"
        if not path.exists():  # a list that somebody else made is reported, never replaced
            write_image_list(path, chosen)
    return summed_up(failed)


def prepare_coco(options: PrepareOptions) -> list[str]:
    """Prepare COCO2014 and return what is wrong with it."""
    coco = options.root / "COCO2014"
    reader = partial(Coco, coco, workers=options.workers)
    if (coco / DESCRIPTION_FILE).is_file():
        return check_generated(coco, reader)
    problems = fetch(options.root, COCO_PARTS, options.download)
    missing = lacking_paths(options.root, COCO_PARTS)
    for name in ("train2014", "val2014"):
        instances = coco / "annotations" / f"instances_{name}.json"
        if f"COCO2014/annotations/{name}" in missing and instances.is_file():
            with collected(problems, "make class masks"):
                folder = coco / "annotations" / name
                problems += summed_up(make_class_masks(instances, folder, options.workers))
    problems += report(options.root, COCO_PARTS)
    return problems + check_counts(reader, ("test",), COCO_COUNTS)


def check_counts(
    reader: Callable[[int], Reader], roles: tuple[Role, ...], expected: dict[str, int]
) -> list[str]:
    """Print how many images the folds have and return what differs from the paper's lists.

    Args:
        reader: opens the data set for a fold.
    """
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


def check_generated(folder: Path, reader: Callable[[int], Reader]) -> list[str]:
    print(f"{folder} holds generated data; the paper's counts do not apply")
    print((folder / DESCRIPTION_FILE).read_text(errors="replace").strip())
    return check_counts(reader, ("train", "test"), {})


if __name__ == "__main__":
    raise SystemExit(run_script(main))
