"""Reproduce the tables of the DC-SAM paper: train, evaluate, and put our numbers beside its own.

What there is:             python reproduce.py --list
The commands of a row:     python reproduce.py table3 --row resnet50 --benchmark coco --print
Run them on four GPUs:     python reproduce.py table3 --row resnet50 --benchmark coco --gpus 4
Try a recipe in a minute:  python reproduce.py table3 --row resnet50 --benchmark coco --smoke
What it takes:             python reproduce.py --cost

Given again, finished steps are skipped and an interrupted training goes on. Tables that share a
training do it once. The tables are WORK/tables/NAME.md and NAME.csv, with a plot for table 5 and
figure 9. docs/reproduction.md tells the protocol.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from common.cli import add_weights_flag, run_script
from common.commands import CommandFailed
from common.errors import UsageError
from common.files import ROOT
from reproduction import report, runner
from reproduction.recipe import Row, Table
from reproduction.steps import Settings, first_frames, is_possible, steps_of
from reproduction.tables import BY_NAME, TABLES

WORK = Path("runs/reproduction")
SMOKE_WORK = Path("runs/reproduction-smoke")

Chosen = list[tuple[Table, list[Row]]]


def main() -> int:
    flags = parse_flags()
    chosen = choose(flags)
    if flags.list:
        list_tables(chosen)
        return 0
    if flags.cost:
        from reproduction import cost

        print(cost.table(chosen, flags.tera))
        return 0
    if not flags.tables:
        raise UsageError(f"name a table: {', '.join(BY_NAME)}; --list shows their rows")
    settings = settings_of(flags)
    if flags.print:
        print_commands(chosen, settings)
        return 0
    return run(chosen, settings)


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help="table2 to table14, figure9, or one of another method: see --list",
    )
    chosen = parser.add_argument_group("which rows (default: all of a table)")
    chosen.add_argument("--row", nargs="+", metavar="NAME", help="names of rows; --list shows them")
    chosen.add_argument(
        "--benchmark", help="rows tested on this benchmark: pascal, coco, icvos, ..."
    )
    chosen.add_argument("--shots", type=int, metavar="N", help="rows tested with so many shots")
    actions = parser.add_argument_group("what is done (default: the rows are run)")
    actions.add_argument("--list", action="store_true", help="show tables, rows, paper's numbers")
    actions.add_argument("--print", action="store_true", help="show the commands")
    actions.add_argument("--cost", action="store_true", help="show operations and hours")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--smoke",
        action="store_true",
        help="try the rows with few layers, random weights, two updates and generated data",
    )
    how.add_argument(
        "--gpus", type=int, default=1, metavar="N", help="number of processes of torchrun"
    )
    how.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[*range(5)],
        help="seeds of evaluations (default: five)",
    )
    how.add_argument(
        "--folds",
        type=int,
        nargs="+",
        choices=range(10),
        metavar="N",
        help="folds to run (default: all; of a smoke run 0)",
    )
    how.add_argument(
        "--datapath", type=Path, default=Path("Datasets"), help="folder that holds the data sets"
    )
    how.add_argument(
        "--work", type=Path, help=f"folder to write (default: {WORK}, of a smoke run {SMOKE_WORK})"
    )
    how.add_argument(
        "--train_flags",
        default="",
        metavar="FLAGS",
        help="further flags of every training, in quotes: --train_flags='--wiring release'",
    )
    add_weights_flag(how)
    how.add_argument(
        "--tera", type=float, default=40.0, help="TFLOP/s of a GPU, for --cost (default: 40)"
    )
    return parser.parse_args()


def choose(flags: argparse.Namespace) -> Chosen:
    """The tables and rows that the flags name.

    Raises:
        UsageError: there is no such table or row; it names those there are.
    """
    for name in flags.tables:
        if name not in BY_NAME:
            raise UsageError(f"no table {name!r}: there are {', '.join(BY_NAME)}")
    tables = [BY_NAME[name] for name in dict.fromkeys(flags.tables)] or list(TABLES)
    filters = {"name": flags.row, "benchmark": flags.benchmark, "shots": flags.shots}
    chosen = []
    for table in tables:
        rows = list(table.rows)
        for field, wanted in filters.items():
            if wanted is None:
                continue
            wanted = wanted if isinstance(wanted, list) else [wanted]
            there = list(dict.fromkeys(getattr(row, field) for row in rows))
            unknown = [value for value in wanted if value not in there]
            if unknown:
                title = {"name": "row"}.get(field, field)
                choices = ", ".join(str(value) for value in there)
                raise UsageError(f"{table.name} has no {title} {unknown[0]!r}: there are {choices}")
            rows = [row for row in rows if getattr(row, field) in wanted]
        chosen.append((table, rows))
    return chosen


def settings_of(flags: argparse.Namespace) -> Settings:
    if flags.gpus < 1:
        raise UsageError(f"--gpus must be at least 1, not {flags.gpus}")
    if min(flags.seeds) < 0:
        raise UsageError("--seeds cannot be negative")
    return Settings(
        work=seen_from_root(flags.work or (SMOKE_WORK if flags.smoke else WORK)),
        datapath=seen_from_root(flags.datapath),
        gpus=flags.gpus,
        seeds=tuple(dict.fromkeys(flags.seeds)),
        folds=tuple(flags.folds) if flags.folds else (0,) if flags.smoke else None,
        smoke=flags.smoke,
        train_flags=tuple(shlex.split(flags.train_flags)),
    )


def seen_from_root(path: Path) -> Path:
    """The same place for commands, which are run in the repository's folder."""
    return path if Path.cwd() == ROOT else path.absolute()


def list_tables(chosen: Chosen) -> None:
    for table, rows in chosen:
        print(f"\n{table.name}: {table.title}")
        for row in rows:
            numbers = [f"{name} {row.paper[name]}" for name in table.columns if name in row.paper]
            print(f"  {row.name:<22}{row.title:<48}{', '.join(numbers)}")


def print_commands(chosen: Chosen, settings: Settings) -> None:
    """Every command once, in the order in which they would be run."""
    seen = set()
    for table, rows in chosen:
        for row in rows:
            reason = f" (left out: {row.missing})" if row.missing else ""
            print(f"# {table.name}: {row.title}{reason}")
            for step in steps_of(row, settings):
                if step.folder not in seen:
                    print(runner.command(step))
                seen.add(step.folder)


def run(chosen: Chosen, settings: Settings) -> int:
    """Do every step, and write the tables of all that is there by then, also after a failure."""
    failure = None
    for table, every in chosen:
        rows = [row for row in every if is_possible(row, settings)]
        for row in every:
            if row.missing:
                print(f"left out: {row.title}: {row.missing}")
            elif row not in rows:
                print(f"left out: {row.title}: no masks in {first_frames(row, settings)}")
        try:
            runner.run(step for row in rows for step in steps_of(row, settings))
        except CommandFailed as error:
            failure = error
        finally:
            show(table, rows, settings)
        if failure:
            print(f"error: {failure}", file=sys.stderr)
            return 1
    return 0


def show(table: Table, rows: Sequence[Row], settings: Settings) -> None:
    path = report.write(table, rows, settings)
    print("\n" + path.read_text(encoding="utf-8"))
    print(f"written to {path} and {path.with_suffix('.csv').name}")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
