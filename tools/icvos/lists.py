"""The two tables (CSV) that a person writes to build IC-VOS: what objects are, and decisions."""

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from common.errors import UsageError
from common.files import write_atomically
from data.classes import COCO_CLASSES, VOC_CLASSES, VOC_TO_COCO

SOURCES = ("davis", "mose", "lvos")
NO_CLASS = "-"
"""In the mapping: the object is of none of the 80 classes."""
ACCEPT, REJECT, UNDECIDED = "accept", "reject", "undecided"

MAPPING_COLUMNS = ("source", "video", "object", "class")
DECISION_COLUMNS = ("video", "class", "decision", "reason")

_CLASS_IDS = {VOC_CLASSES[voc]: coco for voc, coco in VOC_TO_COCO.items()}
_CLASS_IDS |= {name: number for number, name in COCO_CLASSES.items()}
_HIGHEST_OBJECT = 254
_SHOWN = 5

Decisions = Mapping[tuple[str, int], str]
"""Video and class id -> accept, reject or undecided."""


@dataclass
class SourceVideo:
    """What the mapping says of a video."""

    source: str
    name: str
    classes: dict[int, list[int]] = field(default_factory=dict)
    """Class id -> the numbers of its objects."""
    others: list[int] = field(default_factory=list)
    """Objects that are of no class."""

    @property
    def objects(self) -> set[int]:
        return {*self.others, *(number for objects in self.classes.values() for number in objects)}


def read_mapping(path: Path) -> dict[str, SourceVideo]:
    """Read which class each object is of: a line for each, `source,video,object,class`.

    A class is a name or an id from 1 to 80, or `-` for none of them. Names of VOC will do.

    Returns:
        Video -> what its lines say; videos, classes and objects in ascending order.

    Raises:
        UsageError: the file cannot be read, or lines of it make no sense; they are numbered.
    """
    videos: dict[str, SourceVideo] = {}
    problems = []
    for line, row in _rows(path, MAPPING_COLUMNS, problems):
        try:
            _add_object(videos, row)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    _refuse(path, problems)
    if not videos:
        raise UsageError(f"{path} names no object: write a line {','.join(MAPPING_COLUMNS)} each")
    for video in videos.values():
        video.classes = {c: sorted(video.classes[c]) for c in sorted(video.classes)}
    return dict(sorted(videos.items()))


def read_decisions(path: Path, videos: Mapping[str, SourceVideo]) -> Decisions:
    """Read what was decided by hand: `video,class,decision,reason`, the reason may be empty.

    Raises:
        UsageError: as `read_mapping`; also where a line decides on what the mapping does not name.
    """
    found: dict[tuple[str, int], str] = {}
    problems = []
    for line, row in _rows(path, DECISION_COLUMNS, problems):
        try:
            key = row["video"], _class_id(row["class"])
            if key[0] not in videos or key[1] not in videos[key[0]].classes:
                raise ValueError(f"the mapping has no {row['class']} in a video {row['video']!r}")
            if row["decision"] not in (ACCEPT, REJECT, UNDECIDED):
                raise ValueError(
                    f"{row['decision']!r} is no decision: {ACCEPT}, {REJECT} or {UNDECIDED}"
                )
            if key in found:
                raise ValueError(f"a second decision on {row['class']} in video {row['video']}")
            found[key] = row["decision"]
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    _refuse(path, problems)
    return found


def add_undecided(path: Path, items: Collection[tuple[str, int]]) -> None:
    """Add a line for each of these videos and classes, if any; the lines that are there stay.

    Raises:
        UsageError: the file cannot be read or written.
    """
    if not items:
        return
    text = _read_text(path) if path.exists() else ",".join(DECISION_COLUMNS)
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(
        (video, COCO_CLASSES[class_id], UNDECIDED, "") for video, class_id in items
    )
    content = f"{text.rstrip()}\n{lines.getvalue()}"
    write_atomically(path, lambda place: place.write_text(content, encoding="utf-8"))


def _add_object(videos: dict[str, SourceVideo], row: Mapping[str, str]) -> None:
    source, name, number = row["source"].lower(), row["video"], row["object"]
    if source not in SOURCES:
        raise ValueError(f"no source {row['source']!r}: choose {', '.join(SOURCES)}")
    if not name or name[0] == "." or any(c in "/\\:" or not c.isprintable() for c in name):
        raise ValueError(f"{name!r} is no name of a video's folder")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= _HIGHEST_OBJECT):
        raise ValueError(f"object {number!r} is no number from 1 to {_HIGHEST_OBJECT}")
    class_id = None if row["class"] == NO_CLASS else _class_id(row["class"])
    video = videos.setdefault(name, SourceVideo(source, name))
    if video.source != source:
        raise ValueError(f"{video.source} has a video {name} too: IC-VOS has one folder of a name")
    if int(number) in video.objects:
        raise ValueError(f"a second line on object {int(number)} of video {name}")
    objects = video.others if class_id is None else video.classes.setdefault(class_id, [])
    objects.append(int(number))


def _class_id(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) in COCO_CLASSES:
        return int(text)
    if text.lower() not in _CLASS_IDS:
        close = get_close_matches(text.lower(), _CLASS_IDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"write {NO_CLASS} for none of the 80"
        raise ValueError(f"{text!r} is no COCO class: {hint}")
    return _CLASS_IDS[text.lower()]


def _rows(
    path: Path, columns: tuple[str, ...], problems: list[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The number and the cells of each line below the header; others become problems."""
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if header != list(columns):
            raise UsageError(f"{path}: the first line must be {','.join(columns)}")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == len(columns):
                stripped = (cell.strip() for cell in cells)
                yield reader.line_num, dict(zip(columns, stripped, strict=True))
            else:
                problems.append(
                    f"line {reader.line_num}: {len(cells)} values instead of {len(columns)}"
                )
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets start a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the table {path}: {error}") from None


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        more = len(problems) - _SHOWN
        lines = problems[:_SHOWN] + [f"and {more} lines more"] * (more > 0)
        raise UsageError(f"{path} cannot be used:\n  " + "\n  ".join(lines))
