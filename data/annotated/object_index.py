"""Pictures and their objects as arrays, and the sources that are read from them.

Shapes: P pictures, O objects of all of them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.images import read_image
from data.annotated.array_store import Arrays
from data.annotated.source import AnnotatedImages, lists_by_class
from data.classes import in_words
from data.reader import Description


@dataclass(frozen=True)
class ObjectIndex:
    """What an annotation file lists; objects are ordered by picture, and then as in the file."""

    categories: Mapping[int, str]
    files: np.ndarray
    """P file names as bytes, with folders where the file has them."""
    sizes: np.ndarray
    """P x 2 int32: height and width."""
    starts: np.ndarray
    """P + 1 int64: where each picture's objects begin."""
    object_ids: np.ndarray
    """O int64."""
    category_ids: np.ndarray
    """O int64."""
    crowd: np.ndarray
    """O bool."""

    @cached_property
    def positions(self) -> np.ndarray:
        """O: the position of each object's picture."""
        return np.repeat(np.arange(len(self.files)), np.diff(self.starts))

    def file(self, picture: int) -> str:
        return self.files[picture].decode()

    def objects(self, picture: int) -> slice:
        """The objects of a picture."""
        return slice(int(self.starts[picture]), int(self.starts[picture + 1]))

    def pictures_with(self, categories: Collection[int]) -> np.ndarray:
        """P bool: pictures that show something of these, be it a crowd."""
        found = np.zeros(len(self.files), dtype=bool)
        found[self.positions[np.isin(self.category_ids, list(categories))]] = True
        return found


def object_arrays(
    files: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    objects: Sequence[tuple[int, int, int, bool]],
) -> Arrays:
    """The arrays of an `ObjectIndex`.

    Args:
        objects: the position of the picture, ascending, id, category and crowd of each.
    """
    columns = list(zip(*objects, strict=True)) if objects else [()] * 4
    counts = np.bincount(np.array(columns[0], dtype=np.int64), minlength=len(files))
    return {
        "files": np.array([file.encode() for file in files]),
        "sizes": np.array(sizes, dtype=np.int32).reshape(-1, 2),
        "starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "object_ids": np.array(columns[1], dtype=np.int64),
        "category_ids": np.array(columns[2], dtype=np.int64),
        "crowd": np.array(columns[3], dtype=bool),
    }


class IndexedImages(AnnotatedImages):
    """A source whose pictures and objects an `ObjectIndex` lists.

    Args:
        name: of the source.
        root: the data set's folder.
        index: what its annotation file lists.
        images: the folder that file names start from.
        without: ids of categories of which nothing may be seen: pictures with any, be it a crowd,
            are left out, and the categories are no keys of `class_names`.
        without_files: names of files (without folders) of pictures that are left out, too.

    Raises:
        UsageError: there is no folder of images, or nothing is left.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        index: ObjectIndex,
        images: Path,
        without: Collection[int] = (),
        without_files: Collection[str] = (),
    ) -> None:
        self.name = name
        self.domain = "drawings" if Description.read(root).generated else "photographs"
        self.images = images
        self.index = index
        if not images.is_dir():
            raise UsageError(f"no such folder of images: {images}")
        self.class_names: Mapping[int, str] = {
            c: in_words(n) for c, n in sorted(index.categories.items()) if c not in set(without)
        }
        shows = np.zeros(len(index.files), dtype=bool)
        shows[index.positions[~index.crowd]] = True
        shows &= ~index.pictures_with(without)
        if unwanted := set(without_files):
            for picture in np.flatnonzero(shows):
                shows[picture] = index.file(picture).rpartition("/")[2] not in unwanted
        self._kept = np.flatnonzero(shows)
        if not len(self._kept):
            raise UsageError(f"{name} in {root}: no picture shows a class that may be seen")

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

    def fingerprint(self) -> str:
        index, digest = self.index, sha256(str(list(self.class_names.items())).encode())
        listed = (self._kept, index.files, index.category_ids, index.object_ids)
        for values in (*listed, *self.facts()):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()[:16]

    def facts(self) -> Sequence[np.ndarray]:
        """What stands for the masks in the fingerprint."""
        return ()

    def picture(self, name: str) -> int:
        """The position of a picture in the index.

        Raises:
            UsageError: it is not there, or left out.
        """
        picture = self._places.get(name)
        if picture is None:
            raise UsageError(f"{self.name} has no picture {name}")
        return picture

    def pixels(self, name: str) -> np.ndarray:
        """A picture, H x W x 3 uint8 RGB.

        Raises:
            UsageError: it is missing, broken, or of another size than its annotations say.
        """
        size = tuple(self.index.sizes[self.picture(name)].tolist())
        pixels = read_image(self.images / name, upright=False)
        if pixels.shape[:2] != size:
            raise UsageError(
                f"sizes differ (height, width): {self.images / name} {pixels.shape[:2]}, "
                f"its annotations {size}"
            )
        return pixels

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return dict(zip(self.names, self._kept.tolist(), strict=True))
