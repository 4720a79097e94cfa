"""Semantic sources: masks that hold a class id in every pixel."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from data.annotated.source import AnnotatedImages, Annotation, lists_by_class
from data.benchmarks import Split


class ClassMasks(AnnotatedImages):
    """Pictures with one mask for each of their classes."""

    kind = "semantic"

    @property
    @abstractmethod
    def class_lists(self) -> Mapping[str, tuple[int, ...]]:
        """Name of a picture -> the classes that it counts for."""

    @abstractmethod
    def labels(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A picture, H x W x 3 uint8 RGB, and its class ids, H x W uint8.

        Raises:
            UsageError: there is no such picture, or its files are broken or disagree.
        """

    @cached_property
    def names(self) -> Sequence[str]:
        return tuple(self.class_lists)

    @cached_property
    def images_of(self) -> Mapping[int, np.ndarray]:
        lists = self.class_lists.values()
        positions = np.repeat(np.arange(len(lists)), [len(classes) for classes in lists])
        return lists_by_class(np.array([c for classes in lists for c in classes]), positions)

    def read(self, name: str) -> tuple[np.ndarray, Annotation]:
        pixels, labels = self.labels(name)
        shown = np.array([c for c in np.unique(labels) if c in self.class_names], dtype=np.int64)
        masks = labels == shown[:, None, None].astype(labels.dtype)
        return pixels, Annotation(masks, shown, shown, np.zeros(len(shown), dtype=bool))


class BenchmarkMasks(ClassMasks):
    """One side of a benchmark of COCO or PASCAL.

    Of the training side of a fold no picture has a single pixel of a tested class.
    """

    def __init__(self, name: str, split: Split) -> None:
        self.name = name
        self.split = split
        self.domain = split.domain
        self.class_names = split.class_names

    @property
    def class_lists(self) -> Mapping[str, tuple[int, ...]]:
        return self.split.class_lists

    def fingerprint(self) -> str:
        return self.split.fingerprint()

    def labels(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return self.split.read(name)
