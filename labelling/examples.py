"""What a prediction looks for: the classes which labelled pictures show, and their shots."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError
from labelling.references import Reference

Shots = list[tuple[np.ndarray, np.ndarray]]
"""Pixels and mask of each reference of a class."""


@dataclass(frozen=True)
class Examples:
    """What to look for, and where."""

    reference: tuple[tuple[Path, Path], ...] = ()
    """Labelled pictures and their masks."""
    class_name: tuple[str, ...] = ()
    """One name for all references, one for each, or ID=NAME for ids of indexed masks."""
    target: tuple[str, ...] = ()
    """Files, folders and glob patterns."""

    @property
    def names_of_ids(self) -> dict[int, str]:
        """The names that were given to ids of indexed masks."""
        pairs = [name.partition("=") for name in self.class_name]
        return {int(number): name for number, _, name in pairs if number.isdecimal() and name}

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not self.reference:
            found.append("--reference IMAGE MASK is required: a labelled picture")
        if not self.target:
            found.append("--target is required: a file, a folder or a glob pattern in quotes")
        names, references = len(self.class_name), len(self.reference)
        if names and not self.names_of_ids and names not in (1, references):
            found.append(f"--class_name: {names} names for {references} references")
        if self.names_of_ids and len(set(self.names_of_ids.values())) != names:
            found.append("--class_name: either names or ID=NAME, each id and each name once")
        return found


def name_classes(
    examples: Examples, references: Sequence[Reference]
) -> tuple[dict[int, str], dict[int, Shots]]:
    """Class id -> name, and class id -> its shots."""
    shots: dict[int, Shots] = {}
    if examples.class_name and not examples.names_of_ids:
        names = list(dict.fromkeys(examples.class_name))
        each = examples.class_name * (len(references) // len(examples.class_name))
        for name, reference in zip(each, references, strict=True):
            whole = np.logical_or.reduce(list(reference.masks.values()))
            shots.setdefault(1 + names.index(name), []).append((reference.pixels, whole))
        return dict(enumerate(names, start=1)), shots

    for reference in references:
        for class_id, mask in reference.masks.items():
            shots.setdefault(class_id, []).append((reference.pixels, mask))
    names_of_ids = examples.names_of_ids
    if unknown := names_of_ids.keys() - shots.keys():
        raise UsageError(f"--class_name: no mask has the id {min(unknown)}")
    default = {1: "object"} if list(shots) == [1] else {c: f"class_{c}" for c in shots}
    return {c: names_of_ids.get(c, default[c]) for c in sorted(shots)}, shots
