"""What has been found of a recipe's rows by now, beside the paper's numbers."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import UsageError
from common.files import parse_json
from evaluation import protocol
from reproduction.recipe import BENCHMARKS, FOLD_COLUMNS, MEAN, Row, Table, Value
from reproduction.runner import is_finished
from reproduction.steps import Settings, evaluation_step, seeds_of


@dataclass(frozen=True)
class Cell:
    """A number of the paper beside ours."""

    paper: Value | None
    ours: Value | None
    """The mean over the seeds."""
    deviation: float | None = None
    """Standard deviation over the seeds (of a sample), where there are two or more."""
    seeds: int = 0
    tested: str = ""
    """Under which protocol ours was measured, what was otherwise, and whether in-domain."""

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
    cells, tested = {}, ""
    for column in table.columns:
        paper = row.paper.get(column)
        values = results.get(column, [])
        if column in counted:
            cells[column] = Cell(paper, counted[column])
        elif values:
            deviation = statistics.stdev(values) if len(values) > 1 else None
            tested = tested or tested_as(row, settings)
            mean = statistics.fmean(values)
            cells[column] = Cell(paper, mean, deviation, len(values), tested)
        else:
            cells[column] = Cell(paper, None)
    return cells


def tested_as(row: Row, settings: Settings) -> str:
    """The protocol of all results of a row, its changes but for the seed, and the exposure."""
    found = set()
    for fold in row.folds or (None,):
        for seed in seeds_of(row, settings):
            results = _results(row, fold, seed, settings)
            if "protocol" in results:
                found.add(f"{protocol.tested_as(results)}, {results['exposure']}")
    return "; ".join(sorted(found))


def _measured(row: Row, settings: Settings) -> dict[str, list[float]]:
    """By column, one number for each seed that has been evaluated on all folds."""
    if not row.measured:
        return {}
    seeds, folds = seeds_of(row, settings), row.folds or (None,)
    found = {(fold, s): _results(row, fold, s, settings) for fold in folds for s in seeds}
    columns = {}
    for column, entry in BENCHMARKS[row.benchmark].values.items():
        by_seed = [[_entry(found[fold, seed], entry) for fold in folds] for seed in seeds]
        columns[column] = [statistics.fmean(values) for values in by_seed if None not in values]
    for fold, column in zip(row.folds, FOLD_COLUMNS, strict=False):
        values = [
            _entry(found[fold, seed], BENCHMARKS[row.benchmark].values[MEAN]) for seed in seeds
        ]
        columns[column] = [value for value in values if value is not None]
    return columns


def _entry(results: Mapping[str, Any], name: str) -> float | None:
    """An entry of a file of results, whose parts are divided by dots; None: it is not there."""
    value: Any = results
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _results(row: Row, fold: int | None, seed: int | None, settings: Settings) -> dict[str, Any]:
    """What a finished evaluation found; empty where it is not finished.

    Raises:
        UsageError: it cannot be read, or another recipe found it.
    """
    step = evaluation_step(row, fold, seed, settings)
    if not is_finished(step):
        return {}
    try:
        return parse_json((step.folder / "results.json").read_text())
    except (OSError, ValueError):
        raise UsageError(f"{step.folder}/results.json cannot be read: remove that folder") from None
