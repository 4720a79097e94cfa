"""Compare methods on the same episodes: mIoU, what of it is chance, seconds, memory, and a sheet.

    python -m tools.compare --methods insid3 persam matcher --benchmark coco --fold 0
    python -m tools.compare --methods insid3:size=small runs/image/last.safetensors --benchmark coco

A method is one with public weights, with options of its own behind a colon, or a checkpoint. Each
runs in a process of its own (`eval_image.py`), once for each of --seeds seeds of episodes, so that
one that fails spares the others and memory is its own. Between each two methods stands the interval
of a paired bootstrap over the episodes. The output folder gets comparison.json, comparison.md,
comparison.png with a column for each method, and NAME/seed{n}/ with the results of each; what is
there is not computed again.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, option, preset, run_script, script_parser
from common.distributed import DEVICES
from common.files import parse_json
from common.kinds import REFERENCE_KINDS
from common.training_options import PRECISIONS
from data.classes import FOLDS_OF, TESTED
from data.options import DataOptions
from data.sampler import NOTHING_DRAWN, SAMPLERS
from evaluation.protocol import IMAGES, protocol_flags, protocol_names
from model.registry import READY
from tools.entrant import Entrant


@dataclass(frozen=True)
class ComparedData(DataOptions):
    """Which episodes are read."""

    protocol: str | None = option(
        None,
        "named way of testing, see docs/benchmarks.md (default: the benchmark's own)",
        protocol_names(),
    )
    benchmark: str = option("pascal", "benchmark whose images and folds are used", TESTED)
    fold: int = option(
        0,
        "fold whose classes are tested, 0 to 3, of isaid5i 0 to 2, of lvis92i 0 to 9",
        FOLDS_OF["lvis92i"],
    )
    sampler: str | None = option(None, "how episodes are drawn (default: the protocol's)", SAMPLERS)


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and how."""

    test_episodes: int | None = option(
        None, "number of episodes of each seed (default: the protocol's)"
    )
    reference_kind: str = option(
        "mask",
        "what marks the object in references: its mask, or what is drawn from it",
        tuple(REFERENCE_KINDS),
    )
    sheet_rows: int = option(8, "number of episodes on the sheet")
    output: Path = option(Path("runs/compare"), "folder for the results")
    seed: int = option(0, "first seed with which episodes are drawn")
    seeds: int = option(
        5, "number of seeds with which episodes are drawn, one after the other; 1 if none are drawn"
    )
    nworker: int = option(2, "number of processes that read episodes; 0: none")
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = min(self.test_episodes or 1, self.sheet_rows, self.seeds) < 1
        return ["--test_episodes, --sheet_rows and --seeds must be at least 1"] if wrong else []


def parse_options() -> tuple[ComparedData, ComparisonOptions, list[Entrant]]:
    groups = (ComparedData, ComparisonOptions)
    parser = script_parser(__doc__, groups)
    preset(parser, protocol_flags(IMAGES))
    parser.prog = "python -m tools.compare"
    parser.add_argument(
        "--methods",
        nargs="+",
        required=True,
        metavar="NAME",
        help=f"checkpoints, or methods as NAME:option=value,...: {', '.join(READY)}",
    )
    namespace = parser.parse_args()
    return *checked_options(groups, namespace), [Entrant(name) for name in namespace.methods]


answer_early(__name__, parse_options)

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from common.commands import CommandFailed, run_command
from common.distributed import Processes, choose_device
from common.errors import UsageError
from common.files import write_atomically
from common.logger import write_json
from common.visualize import (
    PREDICTION_COLOUR,
    SUPPORT_COLOUR,
    TRUTH_COLOUR,
    SheetRow,
    contact_sheet,
    overlay_tile,
    write_png,
)
from data.benchmarks import EpisodeKey, open_tested
from data.episode_files import read_keys
from evaluation.protocol import Protocol
from tools.compared import Compared, differences, markdown


def main() -> int:
    data, options, entrants = parse_options()
    flags = [(entrant, entrant.flags) for entrant in entrants]
    shared = [
        *("--benchmark", data.benchmark, "--fold", data.fold, "--nshot", data.nshot),
        *("--datapath", data.datapath, "--nworker", options.nworker),
        *("--sheet_rows", options.sheet_rows),
        *("--device", options.device, "--precision", options.precision),
        *("--reference_kind", options.reference_kind),
    ]
    shared += ["--fetch"] if options.fetch else []
    if options.test_episodes:
        shared += ["--test_episodes", options.test_episodes]
    for name in ("protocol", "sampler", "lists"):
        if value := getattr(data, name):
            shared += [f"--{name}", value]
    found, count = [], count_seeds(data, options)
    for entrant, own in flags:
        try:
            found.append(evaluated(entrant, [*own, *shared], options, count))
        except CommandFailed as error:
            print(f"error: {error}", file=sys.stderr)
    if not found:
        return 1
    refuse_other_episodes(found, data, options)
    between = differences(found)
    table = markdown(found, between)
    results = {
        "methods": {one.entrant.name: one.to_json() for one in found},
        "differences": [
            {"method": name, "other": other, **one.to_json()}
            for (name, other), one in between.items()
        ],
    }
    write_json(options.output / "comparison.json", results)
    write_atomically(options.output / "comparison.md", lambda path: path.write_text(table))
    write_png(options.output / "comparison.png", sheet(found, data, options))
    print(f"\n{table}\nwritten to {options.output}: comparison.md, comparison.png")
    return 0 if len(found) == len(entrants) else 1


def count_seeds(data: DataOptions, options: ComparisonOptions) -> int:
    """How many seeds make a difference: one where neither episodes nor marks are drawn."""
    sampler = data.sampler or Protocol.named(data.protocol, data.benchmark).sampler
    drawn = sampler != NOTHING_DRAWN or options.reference_kind != "mask"
    return options.seeds if drawn else 1


def evaluated(
    entrant: Entrant, flags: list[Any], options: ComparisonOptions, count: int
) -> Compared:
    """Evaluate a method with every seed with which it was not evaluated yet.

    Args:
        count: of seeds.

    Raises:
        CommandFailed: an evaluation failed.
    """
    seeds = range(options.seed, options.seed + count)
    folders = [options.output / entrant.folder / f"seed{seed}" for seed in seeds]
    seen = ["--seen_classes"] if flags[0] == "--ckpt" else []
    for seed, folder in zip(seeds, folders, strict=True):
        if not (folder / "results.json").is_file():
            run_command("eval_image.py", *flags, *seen, "--seed", seed, "--output", folder)
    runs = [parse_json((folder / "results.json").read_text()) for folder in folders]
    return Compared(entrant, folders, runs)


def refuse_other_episodes(
    found: Sequence[Compared], data: DataOptions, options: ComparisonOptions
) -> None:
    """Compare only what was measured on the same episodes, those that are asked for.

    Raises:
        UsageError: the folder holds others.
    """
    wanted = {
        "benchmark": data.benchmark,
        "fold": data.fold,
        "shots": data.nshot,
        "protocol": data.protocol or data.benchmark,
        "reference_kind": options.reference_kind,
    }
    if options.test_episodes:
        wanted["episodes"] = options.test_episodes
    hashes = {tuple(run["episode_hash"] for run in one.runs) for one in found}
    same = all(run[name] == wanted[name] for one in found for run in one.runs for name in wanted)
    if len(hashes) > 1 or not same:
        raise UsageError(f"{options.output} holds results on other episodes: name a new --output")


def sheet(found: Sequence[Compared], data: DataOptions, options: ComparisonOptions) -> np.ndarray:
    """Some episodes of the first seed, a column for each method; pictures as wide as they are."""
    keys = read_keys(
        found[0].folders[0] / "episodes.jsonl",
        benchmark=data.benchmark,
        fold=data.fold,
        shots=data.nshot,
        sampler=data.sampler,
    )[: options.sheet_rows]
    alone = Processes(0, 1, choose_device("cpu"))
    protocol = Protocol.named(data.protocol, data.benchmark)
    split = open_tested(data, alone, protocol.reader_options(data.nshot))
    header = ["support", "query", "ground truth", *(one.entrant.title for one in found)]
    folders = [one.folders[0] for one in found]
    rows = [
        SheetRow(list(_tiles(key, number, split, folders)), split.class_names[key.class_id])
        for number, key in enumerate(keys)
    ]
    title = f"{data.benchmark} fold {data.fold}, {data.nshot}-shot"
    return contact_sheet(header, rows, title)


def _tiles(
    key: EpisodeKey, number: int, split: Any, folders: Sequence[Path]
) -> Iterator[np.ndarray]:
    support, marked = split.read_class(key.support[0], key.class_id)
    query, truth = split.read_class(key.query, key.class_id)
    yield overlay_tile(support, marked == 1, SUPPORT_COLOUR)
    yield query
    yield overlay_tile(query, truth == 1, TRUTH_COLOUR)
    for folder in folders:
        with Image.open(folder / "masks" / f"{number:04d}.png") as stored:
            yield overlay_tile(query, np.asarray(stored) > 0, PREDICTION_COLOUR)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
