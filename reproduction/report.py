"""The table of a recipe's results: the paper's number, ours, the difference."""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from common.files import write_atomically
from reproduction.recipe import FOLD_COLUMNS, FOLDS, MEAN, NAMES, Row, Table, Value
from reproduction.runner import is_finished
from reproduction.steps import Settings, evaluation_step, seeds_of

PLACES = {**dict.fromkeys((*FOLD_COLUMNS, MEAN), 1), **dict.fromkeys(("J", "F", "J&F"), 2)}
NOTHING = ""
SMOKE_NOTE = "A smoke run: tiny models, hardly trained, on generated data. Its numbers say nothing."


@dataclass(frozen=True)
class Cell:
    """A number of the paper beside ours."""

    paper: Value | None
    ours: Value | None
    """The mean over the seeds."""
    deviation: float | None = None
    """Standard deviation over the seeds (of a sample), where there are two or more."""
    seeds: int = 0

    @property
    def difference(self) -> float | str | None:
        """Ours less the paper's; for names whether they are the same."""
        if self.paper is None or self.ours is None:
            return None
        if isinstance(self.paper, str):
            return "same" if self.paper == self.ours else "differs"
        return self.ours - self.paper


def cells_of(row: Row, table: Table, settings: Settings) -> dict[str, Cell]:
    """Everything that is known of a row by now, by column."""
    counted = row.counted() if row.counted else {}
    results = _measured(row, settings)
    cells = {}
    for column in table.columns:
        paper = row.paper.get(column)
        values = results.get(column, [])
        if column in counted:
            cells[column] = Cell(paper, counted[column])
        elif values:
            deviation = statistics.stdev(values) if len(values) > 1 else None
            cells[column] = Cell(paper, statistics.fmean(values), deviation, len(values))
        else:
            cells[column] = Cell(paper, None)
    return cells


def _measured(row: Row, settings: Settings) -> dict[str, list[float]]:
    """By column, one number for each seed that has been evaluated."""
    if not row.measured:
        return {}
    seeds = seeds_of(row, settings)
    if not row.folds:
        found = [_results(row, None, seed, settings) for seed in seeds]
        names = {"J": "j", "F": "f", "J&F": "jf"}
        return {
            column: [results[name] for results in found if results.get(name) is not None]
            for column, name in names.items()
        }
    by_fold = {
        fold: {
            seed: results["miou"]
            for seed in seeds
            if (results := _results(row, fold, seed, settings))
        }
        for fold in FOLDS
    }
    columns = {FOLD_COLUMNS[fold]: list(by_seed.values()) for fold, by_seed in by_fold.items()}
    complete = [seed for seed in seeds if all(seed in by_seed for by_seed in by_fold.values())]
    columns[MEAN] = [statistics.fmean(by_fold[fold][seed] for fold in FOLDS) for seed in complete]
    return columns


def _results(row: Row, fold: int | None, seed: int | None, settings: Settings) -> dict[str, float]:
    """What a finished evaluation found; empty where it is not finished.

    Raises:
        UsageError: it cannot be read, or another recipe found it.
    """
    step = evaluation_step(row, fold, seed, settings)
    if not is_finished(step):
        return {}
    try:
        return json.loads((step.folder / "results.json").read_text())
    except (OSError, ValueError):
        raise UsageError(f"{step.folder}/results.json cannot be read: remove that folder") from None


def title_of(row: Row) -> str:
    """A row's label, and what is tested."""
    parts = [row.label]
    if row.measured:
        parts.append(NAMES[row.benchmark])
    if row.folds:
        parts.append(f"{row.shots}-shot")
    return ", ".join(parts)


def markdown(table: Table, rows: Sequence[tuple[Row, dict[str, Cell]]], smoke: bool = False) -> str:
    """The table for people: three lines for each row."""
    lines = [f"# {table.name}: {table.title}", ""]
    lines += [f"{note}\n" for note in (SMOKE_NOTE if smoke else "", table.note) if note]
    lines += [
        "| | | " + " | ".join(table.columns) + " |",
        "|---|---|" + "---|" * len(table.columns),
    ]
    for row, cells in rows:
        shown = [
            (cells[column], table.places.get(column, PLACES.get(column, 2)))
            for column in table.columns
        ]
        for title, name, texts in (
            (title_of(row), "paper", [_plain(cell.paper, places) for cell, places in shown]),
            ("", "ours", [_ours(cell, places) for cell, places in shown]),
            ("", "difference", [_signed(cell.difference, places) for cell, places in shown]),
        ):
            lines.append(f"| {title} | {name} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def comma_separated(table: Table, rows: Sequence[tuple[Row, dict[str, Cell]]]) -> str:
    """The table for programs: a line for each number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            *("table", "row", "benchmark", "shots", "column"),
            *("paper", "ours", "standard_deviation", "seeds", "difference"),
        )
    )
    for row, cells in rows:
        for column in table.columns:
            cell = cells[column]
            numbers = (cell.paper, cell.ours, cell.deviation, cell.seeds or None, cell.difference)
            written = ["" if number is None else number for number in numbers]
            writer.writerow([table.name, row.name, row.benchmark, row.shots, column, *written])
    return text.getvalue()


def write(table: Table, rows: Sequence[Row], settings: Settings) -> Path:
    """Write NAME.md and NAME.csv with all that is known; returns the first."""
    found = [(row, cells_of(row, table, settings)) for row in rows]
    folder = settings.work / "tables"
    text = markdown(table, found, settings.smoke)
    write_atomically(folder / f"{table.name}.md", lambda p: p.write_text(text, encoding="utf-8"))
    numbers = comma_separated(table, found)
    write_atomically(folder / f"{table.name}.csv", lambda p: p.write_text(numbers))
    if table.plot:
        from reproduction import plot  # matplotlib takes a second to import

        plot.draw(table, found, folder / f"{table.name}.png")
    return folder / f"{table.name}.md"


def _plain(value: Value | None, places: int) -> str:
    if value is None or isinstance(value, str):
        return value or NOTHING
    return f"{value:.{places}f}"


def _ours(cell: Cell, places: int) -> str:
    text = _plain(cell.ours, places)
    return text if cell.deviation is None else f"{text} ± {cell.deviation:.{places}f}"


def _signed(value: float | str | None, places: int) -> str:
    return f"{value:+.{places}f}" if isinstance(value, float) else value or NOTHING
