"""What a large JSON file says, kept beside it as arrays that open in no time.

Reading hundreds of megabytes of JSON takes minutes and gigabytes, in every process that does it.
So it is done once: what is needed goes into arrays in a folder, which are mapped into memory and
shared by processes.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import shown
from common.errors import UsageError
from common.files import BROKEN, parse_json, temporary_beside
from data.class_index import personal_copy

Arrays = Mapping[str, np.ndarray]
Parsed = tuple[Arrays, dict[int, str]]
"""Arrays by name, and the names of categories by id."""

_FORMAT = 3
"""Of the arrays; a new number has all of them made anew."""
_HEADER = "header.json"


def stored_arrays(file: Path, parse: Callable[[Sequence[Path]], Parsed]) -> Parsed:
    """The arrays of an annotation file, which are made if they are not there or are out of date.

    They lie beside the file in `<its name>.index`, or in the user's cache folder where that cannot
    be written.

    Args:
        file: a JSON file, or a folder of such files, part-*.json.
        parse: makes the arrays of these files.

    Raises:
        UsageError: there is no such file, or it cannot be parsed.
    """
    parts = sorted(file.glob("part-*.json")) if file.is_dir() else [file]
    try:
        states = [(part.name, part.stat().st_size, part.stat().st_mtime_ns) for part in parts]
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise UsageError(f"cannot read the annotations {reason}") from None
    if not states:
        raise UsageError(f"{file} holds no part-*.json of annotations")
    stamp = hashlib.sha256(json.dumps([_FORMAT, states]).encode()).hexdigest()
    place = file.with_name(f"{file.name}.index")
    places = (place, personal_copy(place))
    for folder in places:
        if (found := _read(folder, stamp)) is not None:
            return found
    try:
        arrays, categories = parse(parts)
    except UsageError:
        raise
    except BROKEN as error:
        raise UsageError(f"{file} is in another format: {shown(error)}") from None
    read_only = not place.parent.stat().st_mode & 0o222
    for folder in places[1:] if read_only else places:
        with contextlib.suppress(OSError, UsageError):
            _write(folder, arrays, {"stamp": stamp, "categories": list(categories.items())})
            if (found := _read(folder, stamp)) is not None:
                return found
    return arrays, categories  # no place to keep them: they are made every time


def _read(folder: Path, stamp: str) -> Parsed | None:
    """The arrays of the same file, else None."""
    try:
        header = parse_json((folder / _HEADER).read_text())
        if header["stamp"] != stamp:
            return None
        names = header["arrays"]
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
        return arrays, {int(number): name for number, name in header["categories"]}
    except (OSError, *BROKEN):
        return None


def _write(folder: Path, arrays: Arrays, header: dict[str, Any]) -> None:
    """Fill a folder that appears when it is complete, in the place of an older one."""
    unfinished = temporary_beside(folder)
    try:
        unfinished.mkdir()
        for name, array in arrays.items():
            np.save(unfinished / f"{name}.npy", array)
        (unfinished / _HEADER).write_text(json.dumps({**header, "arrays": list(arrays)}))
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
