"""What has been found of a recipe's rows by now, beside the paper's numbers."""

import json
import statistics
from dataclasses import dataclass

from common.errors import UsageError
from reproduction.recipe import FOLD_COLUMNS, FOLDS, MEAN, Row, Table, Value
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
