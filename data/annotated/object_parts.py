"""Objects cut out of their pictures, with their parts: PACO.

PACO/annotations/paco_lvis_v1_train.json, in COCO's JSON with `obj_ann_id`, the object that a part
belongs to (or in PACO itself); its pictures are COCO2017/{train2017,val2017}/, or in PACO.
Shapes: H and W the size of the part of a picture that shows an object.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from common.errors import UsageError
from data.annotated.instances import Instances, open_instances
from data.annotated.source import AnnotatedImages, Annotation, lists_by_class


class ObjectParts(AnnotatedImages):
    """Each object that has parts as a picture of its own, cut out along its box; every kind of part
    is a class. The arguments are those of `IndexedImages`.

    A picture's name is that of its file and the object's id: `train2017/000000000009.jpg#17`.

    Raises:
        UsageError: as `Instances`, or no object has parts.
    """

    kind = "semantic"

    def __init__(
        self,
        name: str,
        root: Path,
        annotations: Path,
        images: Path,
        without: Collection[int] = (),
        without_files: Collection[str] = (),
    ) -> None:
        self.name = name
        self.whole = Instances(name, root, annotations, images, without, without_files)
        self.domain = self.whole.domain
        index = self.index = open_instances(annotations)
        order = np.argsort(index.object_ids, kind="stable")
        place = np.searchsorted(index.object_ids, index.owners, sorter=order)
        owner = order[np.minimum(place, len(order) - 1)]
        known = (index.object_ids[owner] == index.owners) & (index.owners != index.object_ids)
        kept = np.isin(index.files, [file.encode() for file in self.whole.names])
        self._parts = np.flatnonzero(known & kept[index.positions] & ~index.crowd)
        if not len(self._parts):
            raise UsageError(f"{annotations}: no object that may be seen has parts")
        self._owners, self._places = np.unique(owner[self._parts], return_inverse=True)
        shown = np.unique(index.category_ids[self._parts]).tolist()
        self.class_names: Mapping[int, str] = {c: self.whole.class_names[c] for c in shown}

    @cached_property
    def names(self) -> Sequence[str]:
        index = self.index
        return tuple(
            f"{index.file(index.positions[owner])}#{index.object_ids[owner]}"
            for owner in self._owners
        )

    @cached_property
    def images_of(self) -> Mapping[int, np.ndarray]:
        return lists_by_class(self.index.category_ids[self._parts], self._places)

    def fingerprint(self) -> str:
        return self.whole.fingerprint()

    def read(self, name: str) -> tuple[np.ndarray, Annotation]:
        place = self._numbers.get(name)
        if place is None:
            raise UsageError(f"{self.name} has no object {name}")
        pixels = self.whole.pixels(name.rpartition("#")[0])
        left, top, width, height = self.index.boxes[self._owners[place]].astype(float)
        shown = _pixels(top, height), _pixels(left, width)
        parts = self._parts[self._order[self._starts[place] : self._starts[place + 1]]]
        of_part = self.index.category_ids[parts]
        drawn = np.array([self.index.mask(part)[shown] for part in parts], dtype=bool)
        classes = np.unique(of_part[drawn.any(axis=(1, 2))])
        masks = [drawn[of_part == class_id].any(axis=0) for class_id in classes]
        cut = pixels[shown]
        none = np.zeros((0, *cut.shape[:2]), dtype=bool)
        found = np.array(masks) if masks else none
        return cut, Annotation(found, classes, classes, np.zeros(len(classes), dtype=bool))

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def _order(self) -> np.ndarray:
        """The parts by the object that they belong to."""
        return np.argsort(self._places, kind="stable")

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.searchsorted(self._places[self._order], np.arange(len(self._owners) + 1))


def _pixels(start: float, length: float) -> slice:
    """The pixels of a box's side; at least one."""
    first = max(0, int(start))
    return slice(first, max(first + 1, int(start + length)))
