"""Annotated pictures: what all sources of training pairs have in common.

Shapes: N masks of a picture, H and W its own size.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

Kind = Literal["semantic", "instance", "panoptic"]
"""One mask for each class; one for each object; one for each object, and one for each class of
what cannot be counted."""


class Annotation(NamedTuple):
    """What is marked in one picture."""

    masks: np.ndarray
    """N x H x W bool; N may be 0."""
    class_ids: np.ndarray
    """N int64, keys of the source's `class_names`."""
    ids: np.ndarray
    """N int64: those of the file, different from each other within the picture; of semantic
    sources the class ids."""
    crowd: np.ndarray
    """N bool: the mask covers a group whose members are not told apart."""

    def chosen(self, which: np.ndarray) -> "Annotation":
        """Some of them: `which` is N bool, or positions in their new order."""
        return Annotation(*(values[which] for values in self))


class AnnotatedImages(ABC):
    """Pictures with masks, read one by one; what is in them is known without opening any."""

    name: str
    """Different for each source of a mixture, such as "coco_instance"."""
    kind: Kind
    domain: str
    """What the pictures are, see `data.benchmarks.Split.domain`."""
    class_names: Mapping[int, str]

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The pictures that show at least one class, in an order that never changes."""

    @property
    @abstractmethod
    def images_of(self) -> Mapping[int, np.ndarray]:
        """Class id, ascending -> ascending positions in `names` of the pictures that show it.

        Classes that no picture shows are left out, and crowds do not count.
        """

    @cached_property
    def classes_of(self) -> "Lists":
        """Position in `names` -> ids of the classes that the picture shows, ascending."""
        classes = np.array(list(self.images_of), dtype=np.int64)
        counts = [len(images) for images in self.images_of.values()]
        images = np.concatenate([*self.images_of.values(), np.empty(0, np.int64)]).astype(np.int64)
        order = np.argsort(images, kind="stable")
        starts = np.searchsorted(images[order], np.arange(len(self.names) + 1))
        return Lists(starts, np.repeat(classes, counts)[order])

    @abstractmethod
    def fingerprint(self) -> str:
        """16 hex digits that change when other pictures, classes or annotations are read."""

    @abstractmethod
    def read(self, name: str) -> tuple[np.ndarray, Annotation]:
        """Return a picture, H x W x 3 uint8 RGB, and all that is marked in it.

        Raises:
            UsageError: there is no such picture, or its files are missing, corrupt or disagree.
        """


class Lists:
    """Many short lists of numbers in two arrays, which processes share without copying."""

    def __init__(self, starts: np.ndarray, values: np.ndarray) -> None:
        """
        Args:
            starts: where each list begins, with the end of the last one appended.
        """
        self.starts, self.values = starts, values

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, position: int) -> np.ndarray:
        return self.values[self.starts[position] : self.starts[position + 1]]


def lists_by_class(class_ids: np.ndarray, positions: np.ndarray) -> dict[int, np.ndarray]:
    """`images_of`, of one class id and one position in `names` for each object."""
    pairs = np.unique(np.stack([class_ids, positions]).astype(np.int64), axis=1)
    found, starts = np.unique(pairs[0], return_index=True)
    return {int(c): images for c, images in zip(found, np.split(pairs[1], starts[1:]), strict=True)}
