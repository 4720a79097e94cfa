"""Lists of episodes that others published, read as they are.

Text has an episode a line: the query, its supports, and their class at the end or the beginning,
between blanks, tabs, commas or semicolons. JSON has a list of objects (query, support, class, by
those or similar names) or of lists with the same words in a row; JSON lines have one a line.

    2007_000033 2008_000291 1
    JPEGImages/2007_000033.jpg SegmentationClassAug/2007_000033.png JPEGImages/2008_000291.jpg ...
    2007_000033__01 2008_000291__01                       (the class in HSNet's way)
    {"query": "val2014/COCO_val2014_000000000139.jpg", "support": ["000000000285"], "class": "bear"}

Pictures may have their folders and suffixes or not, and be followed by their masks; classes are
names or numbers, counted as here, from 0, or by COCO's `category_id`: as all lines agree with the
masks. Lists without supports, such as HSNet's fold0.txt, leave them to be drawn.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from common.errors import UsageError
from common.files import parse_json

_KEYS = {
    "query": "query query_name query_img query_image target image",
    "support": "support supports support_name support_names support_img support_imgs support_image "
    "support_images reference references reference_image reference_images ref refs",
    "class": "class class_id class_idx class_name class_sample category category_id category_name "
    "label",
}
_ATTACHED = re.compile(r"(.+)__(\d{1,4})")
"""A picture's name with its class."""
_SEPARATORS = re.compile(r"[\t,;]")
"""Where a line has none of them, blanks part its words."""


@dataclass(frozen=True)
class ListedEpisode:
    """What a list says of one episode, in its own words."""

    place: str
    """Where it stands, for messages."""
    query: str
    support: tuple[str, ...]
    """Empty: they are to be drawn."""
    class_word: str
    """A name or a number."""


def read_list(path: Path) -> list[ListedEpisode]:
    """Read a list of episodes.

    Raises:
        UsageError: it cannot be read; naming the line, or in JSON the episode.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the episode file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text, and so no list of episodes") from None
    found = [_episode(path, place, content) for place, content in _contents(path, text)]
    if not found:
        raise UsageError(f"{path} lists no episode")
    shots = len(found[0].support)
    for one in found:
        if len(one.support) != shots:
            raise UsageError(
                f"{path}, {one.place}: {len(one.support)} supports, where {found[0].place} has "
                f"{shots}"
            )
    return found


def _contents(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Place and content of every episode: words in a row, or a JSON object."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            whole = parse_json(text)
        except ValueError:
            whole = None  # JSON lines, or nothing that can be read
        if isinstance(whole, dict) and isinstance(whole.get("episodes"), list):
            whole = whole["episodes"]
        if isinstance(whole, list) and whole and isinstance(whole[0], list | dict):
            yield from ((f"episode {number}", one) for number, one in enumerate(whole, start=1))
            return
    for number, line in enumerate(text.splitlines(), start=1):
        place, line = f"line {number}", line.strip()
        if line[:1] in ("[", "{"):
            try:
                yield place, parse_json(line)
            except ValueError as error:
                raise UsageError(f"{path}, {place}: no JSON: {error}") from None
        elif line and not line.startswith("#"):
            words = _SEPARATORS.split(line)
            yield place, [word.strip() for word in words] if len(words) > 1 else line.split()


def _episode(path: Path, place: str, content: Any) -> ListedEpisode:
    try:
        if isinstance(content, dict):
            query, support, class_word = _of_object(content)
        else:
            query, support, class_word = _of_words(_flat(content))
        return _with_attached_class(place, query, support, class_word)
    except ValueError as error:
        raise UsageError(f"{path}, {place}: {error}") from None


def _of_object(content: dict[str, Any]) -> tuple[str, list[str], str | None]:
    values = {}
    for meant, names in _KEYS.items():
        given = [name for name in content if name.lower() in names.split()]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both name the {meant}")
        values[meant] = _flat(content[given[0]]) if given else []
    if len(values["query"]) != 1 or len(values["class"]) > 1:
        entries = ", ".join(content) or "none"
        raise ValueError(f"an episode has one query and one class; its entries are {entries}")
    return values["query"][0], values["support"], next(iter(values["class"]), None)


def _of_words(words: list[str]) -> tuple[str, list[str], str | None]:
    """Words in a row; without masks that follow their pictures."""
    class_word = None
    if len(words) > 1:
        place = next((i for i in (-1, 0) if _is_number(words[i])), None)
        if place is None and not any(_ATTACHED.fullmatch(_stem(word)) for word in words):
            place = next((i for i in (-1, 0) if not _is_picture(words[i])), -1)
        if place is not None:
            class_word = words[place]
            words = words[:-1] if place else words[1:]
    pictures = [
        word
        for before, word in zip([None, *words], words, strict=False)
        if before is None or not _is_mask_of(word, before)
    ]
    if not pictures:
        raise ValueError("no picture")
    return pictures[0], pictures[1:], class_word


def _with_attached_class(
    place: str, query: str, support: Sequence[str], class_word: str | None
) -> ListedEpisode:
    words = {class_word} - {None}
    names = []
    for name in (query, *support):
        attached = _ATTACHED.fullmatch(_stem(name))
        names.append(str(PurePosixPath(name).parent / attached[1]) if attached else name)
        words |= {attached[2]} if attached else set()
    numbers = {int(word) if word.isdigit() else word for word in words}
    if len(numbers) != 1:
        told = " and ".join(sorted(words)) if words else "none"
        raise ValueError(f"an episode has one class, not {told}")
    return ListedEpisode(place, names[0], tuple(names[1:]), words.pop())


def _flat(content: Any) -> list[str]:
    """All words of nested lists, in their order."""
    if isinstance(content, list):
        return [word for part in content for word in _flat(part)]
    if isinstance(content, str | int) and not isinstance(content, bool) and str(content).strip():
        return [str(content).strip()]
    raise ValueError(f"neither a picture nor a class: {json.dumps(content)}")


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if _suffix(name) else path.name


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff") else ""


def _is_number(word: str) -> bool:
    """Whether it is a class's number; pictures have longer ones."""
    return word.isdigit() and len(word) <= 4


def _is_picture(word: str) -> bool:
    return bool(_suffix(word)) or "/" in word or any(c.isdigit() for c in word)


def _is_mask_of(word: str, before: str) -> bool:
    return _stem(word) == _stem(before) and _suffix(word) != _suffix(before)
