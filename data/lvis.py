"""LVIS-92i: the validation images of LVIS v1, whose classes make ten folds of 92.

LVIS/lvis_v1_val.json, and its pictures of COCO 2017 in COCO2017/{train2017,val2017}/ beside LVIS,
or in LVIS itself. An image's name here is a folder of those and its file: val2017/000000397133.jpg.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from pycocotools import mask as run_lengths

from common.errors import UsageError
from common.images import read_image
from data.annotated.instances import InstanceIndex, open_instances
from data.class_index import ImageFiles
from data.classes import Role, every_nth, in_words
from data.reader import Reader

ANNOTATIONS = "lvis_v1_val.json"
PICTURES = "COCO2017"


def pictures_of_coco2017(root: Path, remedy: str) -> Path:
    """The folder of train2017 and val2017 that the annotations in a folder belong to.

    Args:
        remedy: what to do if there is none.

    Raises:
        UsageError: there is none.
    """
    for folder in (root, root.parent / PICTURES):
        if (folder / "val2017").is_dir():
            return folder
    raise UsageError(
        f"no pictures of {root.name}: {root.parent / PICTURES / 'val2017'} is not there. {remedy}"
    )


@dataclass
class Lvis(Reader):
    """Reads an LVIS folder: what is tested of it. A class's mask is that of all its instances."""

    name = "lvis"
    folder = "LVIS"
    sampler = "turns"

    benchmark: str = "lvis92i"
    fold_shots: int = 1
    """The classes with more than so many images make the folds; those left over are in none."""

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        if (root / ANNOTATIONS).is_file():
            return ""
        return f"is not in the layout of LVIS: it lacks {ANNOTATIONS}"

    def known_classes(self) -> dict[int, str]:
        return {c: in_words(name) for c, name in self.index.categories.items()}

    @cached_property
    def index(self) -> InstanceIndex:
        """What the annotation file says."""
        return open_instances(self.root / ANNOTATIONS)

    @cached_property
    def pictures(self) -> Path:
        """The folder that the names of images start from."""
        return pictures_of_coco2017(self.root, self.remedy())

    def classes_of(self, role: Role) -> tuple[int, ...]:
        if role != "test":
            return ()
        index = self.index
        shown = np.unique(np.stack([index.category_ids, index.positions]), axis=1)[0]
        ids, counts = np.unique(shown, return_counts=True)
        enough = ids[counts > self.fold_shots].tolist()
        return every_nth(enough, self.benchmark, self.fold)

    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        """See `Reader`; instances of less than a pixel do not count."""
        if images != "test" or role != "test":
            raise UsageError("lvis92i is tested on here, not trained on")
        classes = set(self.classes_of(role))
        found: dict[int, set[int]] = {}
        for number in np.flatnonzero(np.isin(self.index.category_ids, list(classes))).tolist():
            if run_lengths.area(self._coded(number)) > 0:
                position = int(self.index.positions[number])
                found.setdefault(position, set()).add(int(self.index.category_ids[number]))
        if not found:
            raise UsageError(
                f"{self.root / ANNOTATIONS}: no image shows a class of fold {self.fold}"
            )
        return {self.index.file(p): tuple(sorted(found[p])) for p in sorted(found)}

    def files_of(self, name: str) -> ImageFiles:
        return ImageFiles(image=self.pictures / name, mask=self.root / ANNOTATIONS)

    def read_class(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        index, image = self.index, read_image(self.pictures / name, upright=False)
        position = self._positions[name]
        start, end = (int(n) for n in index.starts[position : position + 2])
        mask = np.zeros(index.sizes[position], dtype=np.uint8)
        if image.shape[:2] != mask.shape:
            raise UsageError(
                f"sizes differ (height, width): {self.pictures / name} {image.shape[:2]}, its "
                f"annotations {mask.shape}"
            )
        for number in range(start, end):
            if index.category_ids[number] == class_id:
                mask |= run_lengths.decode(self._coded(number))
        return image, mask

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {self.index.file(n): n for n in range(len(self.index.files))}

    def _coded(self, number: int) -> dict[str, object]:
        """The run lengths of one instance."""
        index = self.index
        [(begin, stop)] = pairwise(index.run_starts[number : number + 2])
        size = index.sizes[index.positions[number]].tolist()
        return {"size": size, "counts": bytes(index.runs[begin:stop])}
