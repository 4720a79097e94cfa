"""Episodes of a published list, found among a split's pictures and checked against its masks."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.errors import UsageError
from data.annotated.meanings import plain
from data.benchmarks import EpisodeKey, Split
from data.classes import COCO_CATEGORY_IDS, in_voc_words
from data.episode_lists import ListedEpisode, read_list
from data.sampler import EpisodeSampler

_CATEGORIES = {category: number for number, category in COCO_CATEGORY_IDS.items()}
_AS_HERE = "as here"


@dataclass(frozen=True)
class FoundEpisodes:
    """The episodes of a list."""

    keys: list[EpisodeKey]
    numbering: str
    """How the list counts classes: "as here", "from 0", or "by COCO's category_id"."""
    drawn: bool
    """Whether the list has no supports, so that they were drawn."""


def find_episodes(
    path: Path, split: Split, shots: int, seed: int, count: int | None = None
) -> FoundEpisodes:
    """Read a published list for a split.

    Args:
        shots: how many supports each episode has to have; where the list has none, so many are
            drawn from (seed, position).
        count: of a list without supports, the number of episodes: its queries go round. None: each
            once.

    Raises:
        UsageError: the list cannot be read, names a picture or class that is not tested, or a
            picture does not show its class; each with its line.
    """
    listed = read_list(path)
    given = len(listed[0].support)
    if given not in (0, shots):
        raise UsageError(f"{path} has episodes of {given} supports, not of {shots}")
    names = _Names(split)
    pictures = [
        tuple(_located(path, one, names.find, word) for word in (one.query, *one.support))
        for one in listed
    ]
    classes, numbering = _classes(path, listed, pictures, split)
    if given:
        keys = [
            EpisodeKey(class_id, found[0], found[1:])
            for class_id, found in zip(classes, pictures, strict=True)
        ]
        return FoundEpisodes(keys, numbering, drawn=False)
    queries = [(class_id, found[0]) for class_id, found in zip(classes, pictures, strict=True)]
    sampler = EpisodeSampler(split, shots, seed, leave_out_rare=True)
    keys = sampler.keys_of(queries, count or len(queries))
    return FoundEpisodes(keys, numbering, drawn=True)


class _Names:
    """A split's pictures by whatever part of their names says which is meant."""

    def __init__(self, split: Split) -> None:
        self._ends: dict[str, set[str]] = defaultdict(set)
        self._numbers: dict[int, set[str]] = defaultdict(set)
        for name in split.class_lists:
            for end in _ends(name):
                self._ends[end].add(name)
            number = PurePosixPath(name).name.rpartition("_")[2]
            if number.isdigit():
                self._numbers[int(number)].add(name)

    def find(self, word: str) -> str:
        """
        Raises:
            ValueError: it names none of them, or several.
        """
        path = PurePosixPath(word)
        for whole in dict.fromkeys((word, str(path.with_suffix("")) if path.suffix else word)):
            found = next((self._ends[end] for end in _ends(whole) if end in self._ends), set())
            if not found and whole.isdigit():
                found = self._numbers.get(int(whole), set())
            if len(found) == 1:
                return next(iter(found))
            if found:
                raise ValueError(f"{word} may be {' or '.join(sorted(found)[:3])}")
        raise ValueError(f"unknown picture {word}: no such one shows a tested class")


def _ends(name: str) -> list[str]:
    """A path's ends, the longest first: a/b/c, b/c, c."""
    parts = name.strip("/").split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _located(path: Path, listed: ListedEpisode, find: Callable[[str], str], word: str) -> str:
    try:
        return find(word)
    except ValueError as error:
        raise UsageError(f"{path}, {listed.place}: {error}") from None


def _classes(
    path: Path,
    listed: Sequence[ListedEpisode],
    pictures: Sequence[tuple[str, ...]],
    split: Split,
) -> tuple[list[int], str]:
    """The class of every episode, and how the list counts them."""
    spoken = {
        plain(name): class_id
        for names in (in_voc_words(split.class_names), split.class_names)
        for class_id, name in names.items()
    }
    best: tuple[list[int | None], list[int], str] | None = None
    for numbering, meant in _numberings(split).items():
        classes = [
            meant.get(int(one.class_word))
            if one.class_word.isdigit()
            else spoken.get(plain(one.class_word))
            for one in listed
        ]
        wrong = [
            number
            for number, (class_id, shown) in enumerate(zip(classes, pictures, strict=True))
            if any(class_id not in split.class_lists[name] for name in shown)
        ]
        if best is None or len(wrong) < len(best[1]):
            best = classes, wrong, numbering
    classes, doubtful, numbering = best
    for number in doubtful:
        problem = _problem(classes[number], listed[number], pictures[number], split)
        if problem:
            raise UsageError(f"{path}, {listed[number].place}: {problem}")
    return classes, numbering


def _numberings(split: Split) -> dict[str, Mapping[int, int]]:
    """Ways to count classes -> number in the list -> class id."""
    found = {
        _AS_HERE: {class_id: class_id for class_id in split.classes},
        "from 0": {class_id - 1: class_id for class_id in split.classes},
    }
    if split.benchmark in ("coco", "coco_all"):
        found["by COCO's category_id"] = {
            category: number for category, number in _CATEGORIES.items() if number in split.classes
        }
    return found


def _problem(
    class_id: int | None, listed: ListedEpisode, shown: Sequence[str], split: Split
) -> str:
    """What is wrong with an episode; "" where its pictures show few pixels of the class."""
    if class_id is None:
        names = ", ".join(f"{c} {name}" for c, name in split.class_names.items())
        known = names if len(split.class_names) <= 20 else f"{len(split.class_names)} others"
        return f"class {listed.class_word} is not tested; there are {known}"
    for name in shown:
        if class_id in split.class_lists[name]:
            continue
        if not listed.support or not (split.read_class(name, class_id)[1] == 1).any():
            return f"{name} does not show class {class_id} ({split.class_names[class_id]})"
    return ""
