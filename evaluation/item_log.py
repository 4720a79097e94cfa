"""Results of finished items, one JSON line each: an interrupted evaluation goes on from them.

Every process appends to a file of its own, so that no line is ever mixed with another; the main
process joins them. Killing the program at any moment loses at most the line that is being written.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common.distributed import Processes
from common.errors import UsageError
from common.files import BROKEN, parse_json, write_atomically
from common.settings import ITEMS

Record = dict[str, Any]
"""What is known of an item: JSON values, and under "item" its name."""


class ItemLog:
    """The records in a folder: `items.jsonl`, and `items-1.jsonl`, ... of other processes."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.path = folder / (f"items-{rank}.jsonl" if rank else ITEMS)

    def append(self, records: list[Record]) -> None:
        """Add lines, which are on disk when this returns.

        Raises:
            UsageError: they cannot be written.
        """
        text = "".join(json.dumps(record) + "\n" for record in records)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from error

    def share_left(self, names: Sequence[str], processes: Processes) -> list[str]:
        """Of some items, those that this process has to do: none has done them yet.

        All processes must call it.
        """
        done = set(processes.gather([*self.join()] if processes.is_main else [])[0])
        left = [name for name in names if name not in done]
        return [left[number] for number in processes.share(len(left))]

    def write(self, records: Iterable[Record]) -> None:
        """Put these records in the place of all that are there."""
        text = "".join(json.dumps(record) + "\n" for record in records)
        write_atomically(self.folder / ITEMS, lambda place: place.write_text(text))

    def join(self) -> dict[str, Record]:
        """Put the records of all processes into `items.jsonl`, sorted; only one process may do it.

        Returns:
            Item -> its record. Of an item with several, those of other processes and later lines
            count, but a record with an "error" counts only where there is no other.

        Raises:
            UsageError: a line in the middle of a file is no record, or the file cannot be written.
        """
        parts = sorted(self.folder.glob("items-*.jsonl"))
        found: dict[str, Record] = {}
        for path in (self.folder / ITEMS, *parts):
            for record in read_items(path):
                if "error" not in record or "error" in found.get(record["item"], record):
                    found[record["item"]] = record
        found = dict(sorted(found.items()))
        if found or parts:
            self.write(found.values())
        for path in parts:
            path.unlink()
        return found


def read_items(path: Path) -> list[Record]:
    """The records in a file; a last line that was cut off is none, and a missing file has none.

    Raises:
        UsageError: a line is no record.
    """
    if not path.is_file():
        return []
    try:
        *lines, _ = path.read_text().split("\n")
        records = [parse_json(line) for line in lines]
        _ = [record["item"] for record in records]
    except BROKEN:
        raise UsageError(f"{path} holds a line that is no record: choose another folder") from None
    return records
