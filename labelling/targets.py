"""What is labelled: photographs and videos, found by file, folder or pattern, and named."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from common.images import open_image
from common.video_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from labelling.records import read_records

NAMED = 20
"""So many things of a kind that are left out are named; of more, the number."""

_FOREIGN = "left out, neither picture nor video ({}): {}"
_HIDDEN = "left out, hidden ({}): {}"
_FOLDERS = 'left out, folders ("FOLDER/**/*" goes into them) ({}): {}'
_MOVING = "of animated pictures only the first frame is labelled ({}): {}"


@dataclass(frozen=True)
class Target:
    """One picture or video to label."""

    path: Path
    """Absolute, without links among its folders."""
    name: str
    """What its results are called."""
    is_video: bool = False
    """A video file or a folder of frames."""


def list_targets(sources: Sequence[str], output: Path, frames: bool = False) -> list[Target]:
    """The pictures and videos that files, folders and patterns name, but for results among them.

    Args:
        output: the folder of all results: a target that has some keeps its name, and no other
            target gets it.
        frames: a folder with pictures is a video, whose frames they are.

    Raises:
        UsageError: there is none.
    """
    inside = output.resolve()
    places = dict.fromkeys(map(_place, find_paths(sources, frames)))
    paths = [path for path in places if not path.resolve().is_relative_to(inside)]
    if not paths:
        raise UsageError(f"no image or video found outside of {output}, where the results go")
    recorded = [
        Target(Path(record.source.path), name, record.is_video)
        for name, record in read_records(output)
        if record and os.path.exists(record.source.path)
    ]
    return name_targets(paths, recorded)


def find_paths(sources: Sequence[str], frames: bool = False) -> list[Path]:
    """The images and videos that files, folders and glob patterns name, each once, in fixed order.

    Of a folder these are the files directly in it; `folder/**/*.jpg` goes deeper. A file that is
    named alone may have any suffix.

    Args:
        frames: folders with images are found as such, and not the images directly in them.

    Raises:
        UsageError: a source names nothing.
    """
    found: dict[Path, None] = {}
    for source in sources:
        paths = [path for path in _candidates(source, frames) if _is_chosen(path, source, frames)]
        if not paths:
            raise UsageError(f"no image or video found: {source}")
        found |= dict.fromkeys(paths)
    return list(found)


def tell_left_out(sources: Sequence[str], output: Path, frames: bool = False) -> list[str]:
    """Lines about what folders and patterns name but `list_targets` leaves out.

    Args:
        output: the folder of all results, of which nothing is told.
        frames: as for `list_targets`.
    """
    inside, kinds = output.resolve(), (_FOREIGN, _HIDDEN, _FOLDERS, _MOVING)
    found: dict[str, dict[Path, None]] = {kind: {} for kind in kinds}
    for source in sources:
        for path in _candidates(source, frames):
            if path.resolve().is_relative_to(inside):
                continue
            if _is_chosen(path, source, frames):
                kind = _MOVING if _is_animated(path) else None
            elif path.is_dir():
                kind = _FOLDERS if Path(source).is_dir() else None  # ** goes into folders
            else:
                kind = _HIDDEN if path.name.startswith(".") else _FOREIGN
            if kind:
                found[kind][_place(path)] = None
    return [kind.format(len(paths), _enumerated(paths)) for kind, paths in found.items() if paths]


def name_targets(paths: Sequence[Path], recorded: Iterable[Target] = ()) -> list[Target]:
    """Give each path a name of its own: its place below the folder that all have in common.

    The suffix goes, unless a target beside it differs in nothing else. Where a name is taken, or
    lies in the folder of a video's results, more of the path's folders come before it.

    Args:
        paths: absolute and different.
        recorded: targets that have a name.
    """
    known = {target.path: target for target in recorded}
    root = os.path.commonpath([path.parent for path in paths])
    alike = Counter(_without_suffix(path) for path in {*paths, *known})
    taken = {target.name: target.is_video for target in known.values()}
    targets = []
    for path in paths:
        if path not in known:
            shown = path if alike[_without_suffix(path)] > 1 else _without_suffix(path)
            is_video = path.is_dir() or _is_video_file(path)
            least = len(path.relative_to(root).parts)
            name = next(n for n in _longer_names(shown, least) if _is_free(n, is_video, taken))
            known[path], taken[name] = Target(path, name, is_video), is_video
        targets.append(known[path])
    return targets


def _longer_names(path: Path, least: int) -> Iterable[str]:
    """The last parts of a path, from the least number of them to all, and one without folders."""
    parts = path.parts[1:]
    yield from ("/".join(parts[-count:]) for count in range(least, len(parts) + 1))
    yield "-".join(parts)


def _is_free(name: str, is_video: bool, taken: dict[str, bool]) -> bool:
    """Whether results may be called so; `taken` tells of each name whether it is a video's."""
    above = Path(name).parents
    if name in taken or any(taken.get(folder.as_posix()) for folder in above):
        return False
    return not is_video or not any(other.startswith(f"{name}/") for other in taken)


def _place(path: Path) -> Path:
    """The absolute path; links among its folders are followed, the file itself may be one."""
    whole = Path(os.path.abspath(path))
    return whole.parent.resolve() / whole.name


def _without_suffix(path: Path) -> Path:
    known = path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
    return path.with_suffix("") if known else path


def _candidates(source: str, frames: bool) -> list[Path]:
    """What a source names, wanted or not, in fixed order."""
    path = Path(source)
    if path.is_dir() and not (frames and _holds_images(path)):
        return sorted(path.iterdir())
    return [path] if path.exists() else sorted(map(Path, glob.glob(str(source), recursive=True)))


def _is_chosen(path: Path, source: str, frames: bool) -> bool:
    """Whether a candidate is labelled: what is named alone always is."""
    return path == Path(source) or _is_wanted(path, frames)


def _is_animated(path: Path) -> bool:
    """Whether a picture moves, which is looked up for GIF only: there it is the rule."""
    if path.suffix.lower() != ".gif":
        return False
    try:
        with open_image(path) as stored:
            return stored.is_animated
    except UsageError:
        return False  # told when it is read


def _enumerated(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _is_wanted(path: Path, frames: bool) -> bool:
    if path.name.startswith("."):
        return False
    return _is_image(path) or _is_video_file(path) or (frames and _holds_images(path))


def _holds_images(path: Path) -> bool:
    return path.is_dir() and any(map(_is_image, path.iterdir()))


def _is_image(path: Path) -> bool:
    return (
        path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _is_video_file(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
