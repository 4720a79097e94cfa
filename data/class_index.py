"""Which image shows which class: found by scanning the masks once, or read from given lists."""

import ast
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.files import BROKEN, parse_json, write_atomically
from common.images import IGNORED, image_size, read_mask
from data.parallel import parallel_map

MIN_PIXELS = 2 * 32 * 32
"""An image counts for a class that covers at least so many pixels of its mask, at its own size."""

ClassPixels = Mapping[str, Mapping[int, int]]
"""Image name -> class id -> number of pixels; classes without any pixel are left out."""
ClassLists = Mapping[str, tuple[int, ...]]
"""Image name -> ids of the classes it counts for, ascending."""

_PARALLEL_FROM = 2000
_SHOWN = 5


@dataclass(frozen=True)
class ImageFiles:
    """The two files of one image."""

    image: Path
    mask: Path


def name_some(names: Sequence[str]) -> str:
    """The first few names and how many there are, for an error message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def fingerprint(files: Mapping[str, ImageFiles], times: bool = True) -> str:
    """A hash of the names, sizes and (if wanted) times of change of all images and masks.

    Raises:
        UsageError: files are missing; the first few are named.
    """
    digest = hashlib.sha256()
    missing = []
    for name, pair in files.items():
        for path in (pair.image, pair.mask):
            try:
                status = path.stat()
            except OSError:
                missing.append(str(path))
                continue
            time = f" {status.st_mtime_ns}" if times else ""
            digest.update(f"{name} {status.st_size}{time}\n".encode())
    if missing:
        raise UsageError(f"{len(missing)} missing files: {name_some(missing)}")
    return digest.hexdigest()


def scan_class_pixels(
    files: Mapping[str, ImageFiles],
    cache: Path,
    highest_class: int,
    workers: int | None = None,
    read: Callable[[Path], np.ndarray] = read_mask,
    ignored: int = IGNORED,
) -> ClassPixels:
    """Count every mask's pixels by class, or read the counts of an earlier scan.

    The counts are kept beside the data with a fingerprint of the files; when a file has changed,
    all are scanned again. Where the data cannot be written, or is marked as read-only (which does
    not stop root), they go to the user's cache folder.

    Args:
        files: by image name.
        cache: where the counts are kept.
        highest_class: masks hold ids from 0 to this one, and the ignored value.
        read: reads a mask as class ids.
        ignored: the value of pixels that do not count.

    Raises:
        UsageError: files are missing or corrupt, a mask has another size than its image, or
            holds a value that is no class; the first few are named.
    """
    stamp = fingerprint(files)
    for place in (cache, personal_copy(cache)):
        pixels = _read_cache(place, stamp)
        if pixels is not None:
            return pixels

    workers = 0 if len(files) < _PARALLEL_FROM else workers
    scan = partial(_scan, highest_class=highest_class, read=read, ignored=ignored)
    found = parallel_map(
        scan, list(files.values()), workers=workers, description=f"scanning masks ({cache.stem})"
    )
    problems = [outcome for outcome in found if isinstance(outcome, str)]
    if problems:
        lines = "\n  ".join(problems[:_SHOWN])
        raise UsageError(f"{len(problems)} of {len(files)} images cannot be used:\n  {lines}")
    pixels = dict(zip(files, found, strict=True))
    text = json.dumps({"fingerprint": stamp, "class_pixels": pixels})
    read_only = cache.parent.is_dir() and not cache.parent.stat().st_mode & 0o222
    for place in (personal_copy(cache),) if read_only else (cache, personal_copy(cache)):
        with contextlib.suppress(UsageError):  # without a cache, masks are scanned every time
            write_atomically(place, lambda path: path.write_text(text))
            break
    return pixels


def _scan(
    files: ImageFiles, highest_class: int, read: Callable[[Path], np.ndarray], ignored: int
) -> dict[int, int] | str:
    """Pixels by class of one mask, or what is wrong with it."""
    try:
        mask = read(files.mask)
        size = image_size(files.image)
    except UsageError as error:
        return str(error)
    if mask.shape != size:
        return f"sizes differ (height, width): {files.mask} {mask.shape}, {files.image} {size}"
    counts = np.bincount(mask.ravel(), minlength=ignored + 1)
    wrong = np.flatnonzero(counts[highest_class + 1 : ignored]) + highest_class + 1
    if len(wrong):
        known = f"0-{highest_class}, {ignored}"
        return f"mask {files.mask} holds {wrong[0]}, which is no class ({known})"
    return {int(c): int(counts[c]) for c in np.flatnonzero(counts) if 0 < c < ignored}


def personal_copy(cache: Path) -> Path:
    """Where a cache lies in the user's own folder, if it cannot lie beside the data."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = hashlib.sha256(str(cache.parent.resolve()).encode()).hexdigest()[:16]
    return base / "dc-sam" / folder / cache.name


def _read_cache(place: Path, stamp: str) -> ClassPixels | None:
    """The counts of an earlier scan of the same files, else None."""
    try:
        content = parse_json(place.read_text())
        if content["fingerprint"] != stamp:
            return None
        return {
            name: {int(c): count for c, count in classes.items()}
            for name, classes in content["class_pixels"].items()
        }
    except (OSError, *BROKEN):
        return None


def class_lists_from_pixels(
    pixels: ClassPixels,
    classes: Collection[int],
    min_pixels: int = MIN_PIXELS,
    dropped: Collection[int] = (),
) -> dict[str, tuple[int, ...]]:
    """Return the images that count for at least one class, each with those classes.

    Args:
        classes: ids that images can count for.
        min_pixels: what a class must cover for an image to count for it.
        dropped: an image with a single pixel of one of these classes is left out, so that
            training never sees the classes of the test fold.
    """
    lists = {}
    for name, counts in pixels.items():
        shown = tuple(sorted(c for c in classes if counts.get(c, 0) >= min_pixels))
        if shown and not any(c in counts for c in dropped):
            lists[name] = shown
    return lists


def read_given_lists(
    folder: Path,
    role: str,
    fold: int,
    classes: Collection[int],
    name_of: Callable[[str], str],
) -> dict[str, tuple[int, ...]]:
    """Read lists in the community's format instead of scanning masks.

    `folder` holds `train/` and `val/`, each with `data_list_<fold>.txt` (a line per image: the
    image's path and its mask's) and `sub_class_file_list_<fold>.txt` (a printed Python dictionary
    from class id to such pairs). The second is read as data; code in it is refused.

    Args:
        role: "train" or "test"; tested images are listed in `val/`.
        name_of: turns a listed path into the name of an image.

    Raises:
        UsageError: a file is missing or in another format, or the two disagree.
    """
    place = folder / ("train" if role == "train" else "val")
    images = _read_data_list(place / f"data_list_{fold}.txt", name_of)
    path = place / f"sub_class_file_list_{fold}.txt"
    by_class = _read_sub_class_list(path, name_of)
    shown: dict[str, set[int]] = {name: set() for name in images}
    for number, names in by_class.items():
        if number not in classes:
            raise UsageError(f"{path}: class {number} is not among this fold's ({role})")
        for name in names:
            if name not in shown:
                raise UsageError(f"{path}: {name} is not in {place / f'data_list_{fold}.txt'}")
            shown[name].add(number)
    without = [name for name, numbers in shown.items() if not numbers]
    if without:
        raise UsageError(f"{path}: no class is given for {name_some(without)}")
    return {name: tuple(sorted(numbers)) for name, numbers in shown.items()}


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the list {path}: {error}") from None


def _read_data_list(path: Path, name_of: Callable[[str], str]) -> list[str]:
    names = [name_of(line.split()[0]) for line in _read_text(path).splitlines() if line.strip()]
    if not names:
        raise UsageError(f"{path} lists no image")
    return list(dict.fromkeys(names))


def _read_sub_class_list(path: Path, name_of: Callable[[str], str]) -> dict[int, list[str]]:
    try:
        content = ast.literal_eval(_read_text(path).strip())
        return {
            int(number): [name_of(pair[0]) for pair in pairs] for number, pairs in content.items()
        }
    except (ValueError, SyntaxError, TypeError, AttributeError, IndexError, RecursionError):
        raise UsageError(
            f"{path} is not a printed dictionary of class id -> [(image, mask), ...]"
        ) from None
