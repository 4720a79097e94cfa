"""Label one picture, get the rest: masks for a folder of photographs from one labelled example.

    python predict.py --ckpt FILE --reference dog.jpg dog_mask.png --target photos --output out

Several references of a class are several shots; several classes (of an indexed mask, or by
--class_name) compete for every pixel. The output folder gets masks/ (indexed PNG, at the pictures'
own size), overlays/, coco.json and a record of every picture: what has one is skipped when the
command is given again. torchrun or --shard spread the pictures over processes or machines.
"""

import hashlib
import re
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from common.arguments import from_namespace, option, refuse_problems, run_script, script_parser
from common.distributed import DEVICES, Processes, process_group
from common.errors import UsageError
from common.logger import quiet_libraries
from common.pixels import squash
from common.trainer import PRECISIONS
from data.label_folder import LabelFolder, Target, list_targets, preview
from data.photos import Reference, read_photo, read_reference
from model import InContextSegmenter
from model.in_context import LearnedConcept

Shots = list[tuple[np.ndarray, np.ndarray]]
"""Pixels and mask of each reference of a class."""


@dataclass(frozen=True)
class Examples:
    """What to look for, and where."""

    reference: tuple[tuple[Path, Path], ...] = ()
    """Labelled pictures and their masks."""
    class_name: tuple[str, ...] = ()
    """One name for all references, one for each, or ID=NAME for ids of indexed masks."""
    target: tuple[str, ...] = ()
    """Files, folders and glob patterns."""

    @property
    def names_of_ids(self) -> dict[int, str]:
        """The names that were given to ids of indexed masks."""
        pairs = [name.partition("=") for name in self.class_name]
        return {int(number): name for number, _, name in pairs if number.isdecimal() and name}

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not self.reference:
            found.append("--reference IMAGE MASK is required: a labelled picture")
        if not self.target:
            found.append("--target is required: a file, a folder or a glob pattern in quotes")
        names, references = len(self.class_name), len(self.reference)
        if names and not self.names_of_ids and names not in (1, references):
            found.append(f"--class_name: {names} names for {references} references")
        if self.names_of_ids and len(set(self.names_of_ids.values())) != names:
            found.append("--class_name: either names or ID=NAME, each id and each name once")
        return found


@dataclass(frozen=True)
class PredictionOptions:
    """How it is done, and what is written."""

    ckpt: Path | None = option(None, "checkpoint to use (required)")
    output: Path = option(Path("predictions"), "folder for the results")
    presence: float = option(0.0, "leave out classes whose presence score is lower, 0 to 1")
    overlays: bool = option(True, "write no overlays", flag="--no_overlays")
    polygons: bool = option(False, "also write coco_polygons.json")
    labelme: bool = option(False, "also write a LabelMe file for every picture")
    shard: str = option("1/1", "do one part of the pictures: 1/4, 2/4, 3/4 or 4/4")
    bsz: int = option(1, "pictures per forward pass")
    nworker: int = option(2, "threads that read pictures ahead")
    device: str = option("auto", "where to compute", DEVICES)
    precision: str = option("fp32", "of the forward pass", tuple(PRECISIONS))

    @property
    def part(self) -> tuple[int, int]:
        """Which part of the pictures, counted from 0, and of how many."""
        number, _, count = self.shard.partition("/")
        return int(number) - 1, int(count)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt is None:
            found.append("--ckpt is required: the checkpoint to use")
        elif not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if not 0 <= self.presence <= 1:
            found.append(f"--presence must be between 0 and 1, not {self.presence}")
        if not re.fullmatch(r"\d{1,6}/\d{1,6}", self.shard) or not 0 <= self.part[0] < self.part[1]:
            found.append(f"--shard must be i/n with i from 1 to n, such as 2/4, not {self.shard}")
        if self.bsz < 1 or self.nworker < 1:
            found.append("--bsz and --nworker must be at least 1")
        return found


@dataclass(frozen=True)
class Opened:
    """A target that was read, no larger than needed."""

    target: Target
    size: tuple[int, int]
    """Height and width of the picture."""
    squashed: np.ndarray
    """S x S x 3 uint8, what the network sees."""
    picture: np.ndarray | None
    """What the overlay is drawn on."""


def main() -> int:
    examples, options = parse_options()
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with process_group(options.device) as processes:
        targets = list_targets(examples.target, options.output)
        references = [read_reference(image, mask) for image, mask in examples.reference]
        classes, shots = name_classes(examples, references)
        folder = LabelFolder(
            options.output, classes, options.overlays, options.polygons, options.labelme
        )
        folder.claim(settings(examples, options))
        segmenter = InContextSegmenter.from_checkpoint(
            options.ckpt, processes.device, options.precision
        )
        concepts = {
            class_id: segmenter.learn(*zip(*shots[class_id], strict=True), name)
            for class_id, name in classes.items()
        }
        first, step = options.part
        part = targets[first::step]
        mine = [part[number] for number in processes.share(len(part))]
        left = [target for target in mine if not folder.is_done(target)]
        failed = label(left, segmenter, concepts, folder, options, processes)
        counts = processes.gather((len(mine), len(left), failed))
        total, tried, failures = (sum(column) for column in zip(*counts, strict=True))
        if processes.is_main:
            folder.join()
            print(
                f"{tried - failures} pictures labelled, {total - tried} were done before, "
                f"{failures} failed; results in {options.output}"
            )
    return 1 if failures else 0


def parse_options() -> tuple[Examples, PredictionOptions]:
    parser = script_parser(__doc__, [PredictionOptions])
    group = parser.add_argument_group(Examples.__doc__)
    group.add_argument(
        "--reference",
        nargs=2,
        type=Path,
        action="append",
        default=[],
        metavar=("IMAGE", "MASK"),
        help="a labelled picture; again for more shots or classes",
    )
    group.add_argument(
        "--class_name",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="of all references, or of each in turn; or 3=dog for ids of indexed masks",
    )
    group.add_argument(
        "--target",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="pictures: files, folders, or glob patterns in quotes",
    )
    namespace = parser.parse_args()
    examples = Examples(
        tuple((image, mask) for image, mask in namespace.reference),
        tuple(namespace.class_name),
        tuple(namespace.target),
    )
    options = from_namespace(PredictionOptions, namespace)
    refuse_problems(examples, options)
    return examples, options


def name_classes(
    examples: Examples, references: Sequence[Reference]
) -> tuple[dict[int, str], dict[int, Shots]]:
    """Class id -> name, and class id -> its shots."""
    shots: dict[int, Shots] = {}
    if examples.class_name and not examples.names_of_ids:
        names = list(dict.fromkeys(examples.class_name))
        each = examples.class_name * (len(references) // len(examples.class_name))
        for name, reference in zip(each, references, strict=True):
            whole = np.logical_or.reduce(list(reference.masks.values()))
            shots.setdefault(1 + names.index(name), []).append((reference.pixels, whole))
        return dict(enumerate(names, start=1)), shots

    for reference in references:
        for class_id, mask in reference.masks.items():
            shots.setdefault(class_id, []).append((reference.pixels, mask))
    names_of_ids = examples.names_of_ids
    if unknown := names_of_ids.keys() - shots.keys():
        raise UsageError(f"--class_name: no mask has the id {min(unknown)}")
    default = {1: "object"} if list(shots) == [1] else {c: f"class_{c}" for c in shots}
    return {c: names_of_ids.get(c, default[c]) for c in sorted(shots)}, shots


def settings(examples: Examples, options: PredictionOptions) -> dict[str, Any]:
    """What decides the results, but for the pictures themselves."""

    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return {
        "checkpoint": digest(options.ckpt),
        "references": [[digest(image), digest(mask)] for image, mask in examples.reference],
        "presence": options.presence,
        "precision": options.precision,
    }


def label(
    targets: Sequence[Target],
    segmenter: InContextSegmenter,
    concepts: dict[int, LearnedConcept],
    folder: LabelFolder,
    options: PredictionOptions,
    processes: Processes,
) -> int:
    """Label pictures; those that cannot be read or written are named. Returns how many."""
    failures = 0
    class_ids = np.array([0, *concepts], dtype=np.uint8)
    batch: list[Opened] = []
    bar = tqdm(total=len(targets), desc="labelling", disable=not processes.is_main)

    def report(error: UsageError) -> None:
        nonlocal failures
        failures += 1
        bar.write(f"error: {error}", file=sys.stderr)

    for number, opened in enumerate(read_ahead(targets, segmenter.image_size, options), start=1):
        if isinstance(opened, UsageError):
            report(opened)
        else:
            batch.append(opened)
        if batch and (len(batch) == options.bsz or number == len(targets)):
            found = segmenter.segment_classes(
                [one.squashed for one in batch],
                list(concepts.values()),
                options.presence,
                sizes=[one.size for one in batch],
            )
            for one, result in zip(batch, found, strict=True):
                scores = dict(zip(concepts, result.scores, strict=True))
                try:
                    folder.write(one.target, class_ids[result.labels], scores, one.picture)
                except UsageError as error:
                    report(error)
            batch = []
        bar.update()
    bar.close()
    return failures


def read_ahead(
    targets: Sequence[Target], side: int, options: PredictionOptions
) -> Iterator[Opened | UsageError]:
    """Read targets in threads, in their order; what cannot be read comes as its error."""

    def read(target: Target) -> Opened | UsageError:
        try:
            photo = read_photo(target.path)
        except UsageError as error:
            return error
        picture = preview(photo.pixels, photo.size) if options.overlays else None
        return Opened(target, photo.size, squash(photo.pixels, side), picture)

    with ThreadPoolExecutor(options.nworker) as pool:
        waiting = deque()
        for target in targets:
            waiting.append(pool.submit(read, target))
            if len(waiting) > options.nworker:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


if __name__ == "__main__":
    raise SystemExit(run_script(main))
