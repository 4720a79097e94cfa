"""The table of a recipe's results: the paper's number, ours, the difference."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.files import write_atomically
from reproduction.recipe import IMAGE_COLUMNS, VIDEO_COLUMNS, Row, Table, Value
from reproduction.results import Cell, cells_of
from reproduction.steps import Settings

PLACES = {**dict.fromkeys(IMAGE_COLUMNS, 1), **dict.fromkeys(VIDEO_COLUMNS, 2)}
SMOKE_NOTE = (
    "A smoke run: models of few layers, hardly trained, on generated data. Its numbers say nothing."
)
CSV_COLUMNS = (
    "table row benchmark shots column paper ours standard_deviation seeds difference protocol"
)

Rows = Sequence[tuple[Row, Mapping[str, Cell]]]


def markdown(table: Table, rows: Rows, smoke: bool = False) -> str:
    """The table for people: three lines for each row, the second with the protocol of ours."""
    notes = [note for note in (SMOKE_NOTE if smoke else "", table.note) if note]
    lines = [["", "", *table.columns], ["---"] * (len(table.columns) + 2)]
    for row, cells in rows:
        tested = next((cell.tested for cell in cells.values() if cell.tested), "")
        for title, line in zip((row.title, tested, ""), _lines(table, cells), strict=True):
            lines.append([title, *line])
    written = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([f"# {table.name}: {table.title}", *notes, written]) + "\n"


def _lines(table: Table, cells: Mapping[str, Cell]) -> Sequence[list[str]]:
    """The paper's numbers of a row, ours, and the differences, each after its name."""
    shown = [(cells[c], table.places.get(c, PLACES.get(c, 2))) for c in table.columns]
    return (
        ["paper", *(_text(cell.paper, places) for cell, places in shown)],
        ["ours", *(_ours(cell, places) for cell, places in shown)],
        ["difference", *(_text(cell.difference, places, "+") for cell, places in shown)],
    )


def _text(value: Value | None, places: int, sign: str = "") -> str:
    return f"{value:{sign}.{places}f}" if isinstance(value, int | float) else value or ""


def _ours(cell: Cell, places: int) -> str:
    text = _text(cell.ours, places)
    return text if cell.deviation is None else f"{text} ± {cell.deviation:.{places}f}"


def comma_separated(table: Table, rows: Rows) -> str:
    """The table for programs: a line for each number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS.split())
    for row, cells in rows:
        for column in table.columns:
            cell = cells[column]
            numbers = (cell.paper, cell.ours, cell.deviation, cell.seeds or None, cell.difference)
            about = (table.name, row.name, row.benchmark, row.shots, column)
            writer.writerow([*about, *numbers, cell.tested])
    return text.getvalue()


def write(table: Table, rows: Sequence[Row], settings: Settings) -> Path:
    """Write NAME.md and NAME.csv with all that is known; returns the first."""
    found = [(row, cells_of(row, table, settings)) for row in rows]
    path = settings.work / "tables" / f"{table.name}.md"
    text = markdown(table, found, settings.smoke)
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))
    numbers = comma_separated(table, found)
    write_atomically(path.with_suffix(".csv"), lambda place: place.write_text(numbers))
    if table.plot:
        from reproduction import plot  # matplotlib takes a second to import

        plot.draw(table, found, path.with_suffix(".png"))
    return path
