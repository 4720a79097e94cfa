"""Instance sources: annotations in COCO's JSON, one mask for each object.

COCO 2017: annotations/instances_train2017.json and pictures in train2017/.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.images import read_image
from data.annotated.instance_index import InstanceIndex, open_index
from data.annotated.source import AnnotatedImages, Annotation, lists_by_class
from data.reader import Description


class Instances(AnnotatedImages):
    """Pictures of an instances file.

    Args:
        name: of the source.
        root: the data set's folder.
        annotations: the file, or a folder of several, see `open_index`.
        images: the folder that file names start from.
        without: category ids of which no picture may show anything, not even a crowd: such
            pictures are left out, and their names are no keys of `class_names`.
        without_files: names of files (without folders) of pictures that are left out, too.

    Raises:
        UsageError: a file or folder is missing or in another format, or nothing is left.
    """

    kind = "instance"

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
        self.domain = "drawings" if Description.read(root).generated else "photographs"
        self.images = images
        if not images.is_dir():
            raise UsageError(f"no such folder of images: {images}")
        self.index = open_index(annotations)
        self.class_names: Mapping[int, str] = {
            c: n for c, n in sorted(self.index.categories.items()) if c not in set(without)
        }
        self._kept = _pictures(self.index, without, without_files)
        if not len(self._kept):
            raise UsageError(f"{annotations}: no picture shows a class that may be seen")

    @cached_property
    def names(self) -> Sequence[str]:
        return tuple(self.index.file(picture) for picture in self._kept)

    @cached_property
    def images_of(self) -> Mapping[int, np.ndarray]:
        index = self.index
        place = np.full(len(index.files), -1)
        place[self._kept] = np.arange(len(self._kept))
        counted = ~index.crowd & (place[index.positions] >= 0)
        return lists_by_class(index.category_ids[counted], place[index.positions[counted]])

    @cached_property
    def _pictures(self) -> Mapping[str, int]:
        return dict(zip(self.names, self._kept.tolist(), strict=True))

    def fingerprint(self) -> str:
        index, digest = self.index, sha256(str(list(self.class_names.items())).encode())
        # where run lengths begin stands for the masks: other masks have other lengths
        objects = (index.category_ids, index.object_ids, index.run_starts)
        for values in (self._kept, index.files, *objects):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()[:16]

    def read(self, name: str) -> tuple[np.ndarray, Annotation]:
        picture = self._pictures.get(name)
        if picture is None:
            raise UsageError(f"{self.name} has no picture {name}")
        pixels = read_image(self.images / name, upright=False)
        annotation = self.index.annotation(picture)
        if pixels.shape[:2] != annotation.masks.shape[1:]:
            raise UsageError(
                f"sizes differ (height, width): {self.images / name} {pixels.shape[:2]}, "
                f"its annotations {annotation.masks.shape[1:]}"
            )
        return pixels, annotation


def coco_instances(root: Path, split: str = "train2017", **left_out: Collection) -> Instances:
    """COCO's instances of "train2017" or "val2017" (or of 2014), see `Instances`."""
    file = root / "annotations" / f"instances_{split}.json"
    return Instances("coco_instance", root, file, root / split, **left_out)


def _pictures(
    index: InstanceIndex, without: Collection[int], without_files: Collection[str]
) -> np.ndarray:
    """Positions of the pictures that show a class and nothing that is left out, ascending."""
    shows = np.zeros(len(index.files), dtype=bool)
    shows[index.positions[~index.crowd]] = True
    wrong = np.isin(index.category_ids, list(without))
    shows[index.positions[wrong]] = False
    if without_files:
        unwanted = set(without_files)
        for picture in np.flatnonzero(shows):
            if index.file(picture).rpartition("/")[2] in unwanted:
                shows[picture] = False
    return np.flatnonzero(shows)
