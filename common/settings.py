"""What the results in a folder depend on, so that those of other settings do not mix with them."""

import json
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.logger import write_json


def claim_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Write settings (JSON values) to `settings.json`, or compare them with those that are there.

    Raises:
        UsageError: the folder holds results of other settings, or cannot be written.
    """
    file = folder / "settings.json"
    try:
        found = json.loads(file.read_text()) if file.exists() else settings
        differing = [name for name in settings if found.get(name) != settings[name]]
    except (OSError, ValueError, AttributeError):
        raise UsageError(f"{file} cannot be read: choose another folder") from None
    if differing:
        raise UsageError(
            f"{folder} holds results of other settings ({', '.join(differing)}): choose another "
            "folder, or delete this one"
        )
    write_json(file, settings)
