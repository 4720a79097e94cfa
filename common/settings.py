"""What the results in a folder depend on, so that those of other settings do not mix with them."""

from pathlib import Path
from typing import Any

from common.distributed import Processes
from common.errors import UsageError
from common.files import BROKEN, parse_json, remove_leftovers
from common.logger import write_json

SETTINGS = "settings.json"
ITEMS = "items.jsonl"
"""Results of finished items, see `evaluation.item_log`."""


def claim_run(folder: Path, settings: dict[str, Any], resuming: bool, processes: Processes) -> None:
    """Write a training run's settings, or compare them where it goes on.

    What processes that were killed left half-written in the folder is removed.

    Raises:
        UsageError: the run was begun with other settings, or the folder cannot be written.
    """
    if processes.is_main:
        if resuming:
            claim_folder(folder, settings)
        else:
            remove_leftovers(folder)
            write_json(folder / SETTINGS, settings)
    processes.wait()


def claim_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Write settings (JSON values) to `settings.json`, or compare them with those that are there.

    What processes that were killed left half-written in the folder is removed.

    Raises:
        UsageError: the folder holds results of other settings, or cannot be written.
    """
    file = folder / SETTINGS
    if (folder / ITEMS).exists() and not file.exists():
        raise UsageError(f"{folder} holds results of nobody knows what: choose another folder")
    try:
        found = parse_json(file.read_text()) if file.exists() else settings
        differing = [name for name in settings if found.get(name) != settings[name]]
    except (OSError, *BROKEN):
        raise UsageError(f"{file} cannot be read: choose another folder") from None
    if differing:
        raise UsageError(
            f"{folder} holds results of other settings ({', '.join(differing)}): choose another "
            "folder, or delete this one"
        )
    remove_leftovers(folder)
    write_json(file, settings)
