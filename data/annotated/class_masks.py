"""Semantic sources: one side of a benchmark, whose masks hold a class id in every pixel."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from data.annotated.source import AnnotatedImages, Annotation, lists_by_class
from data.benchmarks import Split


class ClassMasks(AnnotatedImages):
    """Pictures of a `Split`, with one mask for each of its classes that the picture counts for.

    Of the training side of a fold no picture has a single pixel of a tested class.
    """

    kind = "semantic"

    def __init__(self, name: str, split: Split) -> None:
        self.name = name
        self.split = split
        self.domain = split.domain
        self.class_names: Mapping[int, str] = split.class_names

    @cached_property
    def names(self) -> Sequence[str]:
        return tuple(self.split.class_lists)

    @cached_property
    def images_of(self) -> Mapping[int, np.ndarray]:
        lists = self.split.class_lists.values()
        positions = np.repeat(np.arange(len(self.names)), [len(classes) for classes in lists])
        return lists_by_class(np.array([c for classes in lists for c in classes]), positions)

    def fingerprint(self) -> str:
        return self.split.fingerprint()

    def read(self, name: str) -> tuple[np.ndarray, Annotation]:
        pixels, mask = self.split.read(name)
        shown = np.array([c for c in np.unique(mask) if c in self.class_names], dtype=np.int64)
        masks = mask == shown[:, None, None].astype(mask.dtype)
        return pixels, Annotation(masks, shown, shown, np.zeros(len(shown), dtype=bool))
