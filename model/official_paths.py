"""Where official files lie, and how to get those that are missing."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from common.files import ROOT
from model.official import OFFICIAL
from model.official_file import readable_size


def weights_folder() -> Path:
    """Where official files are looked for: DCSAM_WEIGHTS, or `weights/` in the checkout."""
    return Path(os.environ.get("DCSAM_WEIGHTS") or ROOT / "weights")


def official_path(name: str) -> Path:
    """Where the official file of a model, one of `OFFICIAL`, lies or belongs.

    A file of another name with the same weights counts where the file itself is absent.
    """
    places = [weights_folder() / file for file in OFFICIAL[name].names]
    return next((path for path in places if path.is_file()), places[0])


def how_to_get(names: Sequence[str]) -> str:
    """What to do about missing official files: which, from where, to which folder.

    Args:
        names: of models, keys of `OFFICIAL`; at least one.

    Returns:
        One line, with sizes and licences.
    """
    folder = weights_folder()
    elsewhere = "" if folder == ROOT / "weights" else f" --weights {shlex.quote(str(folder))}"
    files = {name: OFFICIAL[name] for name in names}
    fetched = {name: file for name, file in files.items() if not file.by_hand}
    advice = [
        f"get {file.described} by hand from {file.page} and put it into {folder}"
        for file in files.values()
        if file.by_hand
    ]
    if fetched:
        known = "; ".join(f"{file.described} from {file.source}" for file in fetched.values())
        size = readable_size(sum(file.size or file.about or 0 for file in fetched.values()))
        total = f", {size} in all" if len(fetched) > 1 else ""
        command = f"python -m tools.weights fetch {' '.join(fetched)}{elsewhere}"
        advice.insert(0, f"`{command}` gets {known}{total}, into {folder}")
    return "; ".join(advice)
