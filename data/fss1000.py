"""FSS-1000: a thousand kinds of things, ten images of each; 240 of the kinds are tested.

FSS-1000/<class>/<1 to 10>.jpg and .png (white where the class is), as the archive's folder
fewshot_data holds them, and a list of the tested classes, one a line: test.txt or fss_test_set.txt.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UsageError
from common.images import read_image
from data.class_index import ImageFiles, name_some
from data.classes import Role
from data.reader import Reader

TEST_LISTS = ("test.txt", "fss_test_set.txt")
"""What the list of tested classes is called in copies of the data."""
FIRST_TESTED = 760
"""Class id of the first tested class: 520 training and 240 validation classes come before it."""
_WHITE = 128


@dataclass
class Fss1000(Reader):
    """Reads an FSS-1000 folder: what is tested of it."""

    name = "fss1000"
    folder = "FSS-1000"
    sampler = "queries"

    fold: int = 0
    benchmark: str = "fss1000"
    folder_names: bool = False
    """Call classes as their folders are, with underscores."""

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        if _list_of(root) is None:
            return f"is not in the layout of FSS-1000: it lacks {' or '.join(TEST_LISTS)}"
        return ""

    def known_classes(self) -> dict[int, str]:
        self._folders = {
            FIRST_TESTED + place: name for place, name in enumerate(tested_classes(self.root))
        }
        between = "_" if self.folder_names else " "
        return {c: name.replace("_", between) for c, name in self._folders.items()}

    def classes_of(self, role: Role) -> tuple[int, ...]:
        return tuple(self._folders) if role == "test" else ()

    def class_lists(self, images: Role, role: Role) -> dict[str, tuple[int, ...]]:
        """See `Reader`; the images of a class are in the order of their names as text: 1, 10, 2."""
        if images != "test" or role != "test":
            raise UsageError("fss1000 is tested on here, not trained on")
        found, without = {}, []
        for class_id in self.classes_of(role):
            folder = self._folders[class_id]
            names = sorted(path.stem for path in (self.root / folder).glob("[!.]*.jpg"))
            without += [folder][: not names]
            found |= {f"{folder}/{name}": (class_id,) for name in names}
        if without:
            raise UsageError(
                f"{self.root} has no images of {len(without)} tested classes: "
                f"{name_some(without)}. {self.remedy()}"
            )
        return found

    def files_of(self, name: str) -> ImageFiles:
        return ImageFiles(image=self.root / f"{name}.jpg", mask=self.root / f"{name}.png")

    def read_class(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        files = self.files_of(name)
        image = read_image(files.image, upright=False)
        mask = read_image(files.mask, upright=False)[..., 1] >= _WHITE
        if image.shape[:2] != mask.shape:
            raise UsageError(
                f"sizes differ (height, width): {files.mask} {mask.shape}, "
                f"{files.image} {image.shape[:2]}"
            )
        shown = self._folders.get(class_id) == Path(name).parent.name
        return image, (mask & shown).astype(np.uint8)


def tested_classes(root: Path) -> list[str]:
    """Names of the folders of tested classes, sorted.

    Raises:
        UsageError: the list is empty or cannot be read.
    """
    path = _list_of(root) or root / TEST_LISTS[0]
    try:
        names = sorted({line.strip() for line in path.read_text().splitlines() if line.strip()})
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the list {path}: {error}") from None
    if not names:
        raise UsageError(f"the list {path} is empty")
    return names


def _list_of(root: Path) -> Path | None:
    return next((root / name for name in TEST_LISTS if (root / name).is_file()), None)
