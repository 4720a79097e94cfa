"""Compare methods on the same episodes: mIoU, seconds and memory, and a sheet to look at.

    python -m tools.compare --methods insid3 persam matcher --benchmark coco --fold 0
    python -m tools.compare --methods insid3:size=small runs/image/last.safetensors --benchmark coco

A method is one with public weights, with options of its own behind a colon, or a checkpoint. Each
runs in a process of its own (`eval_image.py`), so that one that fails spares the others and memory
is its own. The output folder gets comparison.json, comparison.md, comparison.png with a column for
each method, and a folder of results for each; what is there is not computed again.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.cli import checked_options, option, run_script, script_parser
from common.commands import CommandFailed, run_command
from common.distributed import DEVICES, Processes, choose_device
from common.errors import UsageError
from common.files import write_atomically
from common.logger import write_json
from common.trainer import PRECISIONS
from common.visualize import (
    PREDICTION_COLOUR,
    SUPPORT_COLOUR,
    TRUTH_COLOUR,
    SheetRow,
    contact_sheet,
    overlay_tile,
    write_png,
)
from data.benchmarks import open_tested
from data.classes import FOLDS_OF, TESTED
from data.episode import EpisodeKey
from data.options import DataOptions
from data.sampler import SAMPLERS, read_keys
from model.registry import READY

COLUMNS = ("method", "mIoU", "FB-IoU", "own size", "s/episode", "GiB", "classes")


@dataclass(frozen=True)
class ComparedData(DataOptions):
    """Which episodes are read."""

    benchmark: str = option("pascal", "benchmark whose images and folds are used", TESTED)
    fold: int = option(
        0, "fold whose classes are tested, 0 to 3, of lvis92i 0 to 9", FOLDS_OF["lvis92i"]
    )
    sampler: str | None = option(
        None, "how episodes are drawn (default: the benchmark's own protocol)", SAMPLERS
    )


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and how."""

    test_episodes: int = option(1000, "number of episodes; the field's protocol has 1,000")
    sheet_rows: int = option(8, "number of episodes on the sheet")
    output: Path = option(Path("runs/compare"), "folder for the results")
    seed: int = option(0, "seed with which episodes are drawn")
    nworker: int = option(2, "number of processes that read episodes; 0: none")
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = self.test_episodes < 1 or self.sheet_rows < 1
        return ["--test_episodes and --sheet_rows must be at least 1"] if wrong else []


@dataclass(frozen=True)
class Entrant:
    """A method as it was named."""

    name: str

    @property
    def folder(self) -> str:
        """What its results are called."""
        return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in self.name)

    @property
    def title(self) -> str:
        """What its column is called."""
        return Path(self.name).stem if Path(self.name).is_file() else self.name

    @property
    def flags(self) -> list[str]:
        """What `eval_image.py` is to be told of it.

        Raises:
            UsageError: it is neither a method nor a file.
        """
        if Path(self.name).is_file():
            return ["--ckpt", self.name]
        method, _, given = self.name.partition(":")
        if method not in READY:
            raise UsageError(
                f"--methods: {self.name} is no checkpoint file, and no method with public "
                f"weights; there are {', '.join(READY)}"
            )
        flags = ["--method", method]
        for pair in filter(None, given.split(",")):
            name, equals, value = pair.partition("=")
            flags += [f"--{name}", value] if equals else [f"--{name}"]
        return flags


def main() -> int:
    data, options, entrants = parse_options()
    flags = [(entrant, entrant.flags) for entrant in entrants]
    shared = [
        *("--benchmark", data.benchmark, "--fold", data.fold, "--nshot", data.nshot),
        *("--datapath", data.datapath, "--seed", options.seed, "--nworker", options.nworker),
        *("--test_episodes", options.test_episodes, "--sheet_rows", options.sheet_rows),
        *("--device", options.device, "--precision", options.precision),
    ]
    shared += ["--fetch"] if options.fetch else []
    for name in ("sampler", "lists"):
        if value := getattr(data, name):
            shared += [f"--{name}", value]
    results: dict[str, dict[str, Any]] = {}
    for entrant, own in flags:
        folder = options.output / entrant.folder
        if not (folder / "results.json").is_file():
            seen = ["--seen_classes"] if own[0] == "--ckpt" else []
            try:
                run_command("eval_image.py", *own, *seen, *shared, "--output", folder)
            except CommandFailed as error:
                print(f"error: {error}", file=sys.stderr)
                continue
        results[entrant.name] = json.loads((folder / "results.json").read_text())
    if not results:
        return 1
    refuse_other_episodes(results, data, options)
    table = markdown(results)
    write_json(options.output / "comparison.json", results)
    write_atomically(options.output / "comparison.md", lambda path: path.write_text(table))
    folders = {name: options.output / Entrant(name).folder for name in results}
    write_png(options.output / "comparison.png", sheet(folders, data, options))
    print(f"\n{table}\nwritten to {options.output}: comparison.md, comparison.png")
    return 0 if len(results) == len(entrants) else 1


def parse_options() -> tuple[ComparedData, ComparisonOptions, list[Entrant]]:
    groups = (ComparedData, ComparisonOptions)
    parser = script_parser(__doc__, groups)
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


def refuse_other_episodes(
    results: dict[str, dict[str, Any]], data: DataOptions, options: ComparisonOptions
) -> None:
    """Compare only what was measured on the same episodes, those that are asked for.

    Raises:
        UsageError: the folder holds others.
    """
    wanted = {
        "benchmark": data.benchmark,
        "fold": data.fold,
        "shots": data.nshot,
        "seed": options.seed,
        "episodes": options.test_episodes,
    }
    hashes = {found["episode_hash"] for found in results.values()}
    same = all(found[name] == wanted[name] for found in results.values() for name in wanted)
    if len(hashes) > 1 or not same:
        raise UsageError(f"{options.output} holds results on other episodes: name a new --output")


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """The results as a table, the best method first."""
    first = next(iter(results.values()))
    rows = [
        (
            f"{found['method']} ({Entrant(name).title})",
            f"{found['miou']:.1f}",
            f"{found['fb_iou']:.1f}",
            f"{found['miou_original_size']:.1f}",
            f"{found['cost']['seconds_per_episode'] or 0:.2f}",
            f"{found['cost']['peak_memory_gib']:.1f}",
            found["classes"],
        )
        for name, found in sorted(results.items(), key=lambda item: -item[1]["miou"])
    ]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in (COLUMNS, ["-" * width for width in widths], *rows)
    ]
    title = (
        f"{first['benchmark']} fold {first['fold']}, {first['shots']}-shot, "
        f"{first['episodes']} episodes"
    )
    return "\n".join([title, "", *lines, ""])


def sheet(folders: dict[str, Path], data: DataOptions, options: ComparisonOptions) -> np.ndarray:
    """Some episodes, a column for each method; pictures in their own proportions."""
    keys = read_keys(
        next(iter(folders.values())) / "episodes.jsonl",
        benchmark=data.benchmark,
        fold=data.fold,
        shots=data.nshot,
        sampler=data.sampler,
    )[: options.sheet_rows]
    alone = Processes(0, 1, choose_device("cpu"))
    split = open_tested(data, alone)
    header = ["support", "query", "ground truth", *(Entrant(name).title for name in folders)]
    rows = [
        SheetRow(list(_tiles(key, number, split, folders)), split.class_names[key.class_id])
        for number, key in enumerate(keys)
    ]
    title = f"{data.benchmark} fold {data.fold}, {data.nshot}-shot"
    return contact_sheet(header, rows, title)


def _tiles(
    key: EpisodeKey, number: int, split: Any, folders: dict[str, Path]
) -> Iterator[np.ndarray]:
    support, marked = split.read_class(key.support[0], key.class_id)
    query, truth = split.read_class(key.query, key.class_id)
    yield overlay_tile(support, marked == 1, SUPPORT_COLOUR)
    yield query
    yield overlay_tile(query, truth == 1, TRUTH_COLOUR)
    for folder in folders.values():
        with Image.open(folder / "masks" / f"{number:04d}.png") as stored:
            yield overlay_tile(query, np.asarray(stored) > 0, PREDICTION_COLOUR)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
