"""FSS-1000: a thousand kinds of things, ten images of each; 240 of the kinds are tested.

FSS-1000/<class>/<1 to 10>.jpg and .png (white where the class is), as the archive's folder
fewshot_data holds them, and a list of the tested classes, one a line: test.txt or fss_test_set.txt.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from data.binary_masks import BinaryMasks, MaskedImage
from data.class_index import ImageFiles, name_some
from data.classes import in_words

TEST_LISTS = ("test.txt", "fss_test_set.txt")
"""What the list of tested classes is called in copies of the data."""
FIRST_TESTED = 760
"""Class id of the first tested class: 520 training and 240 validation classes come before it."""


@dataclass
class Fss1000(BinaryMasks):
    """Reads an FSS-1000 folder: what is tested of it."""

    name = "fss1000"
    folder = "FSS-1000"
    sampler = "queries"

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
        spoken = str if self.folder_names else in_words
        return {c: spoken(name) for c, name in self._folders.items()}

    def find_images(self) -> dict[str, MaskedImage]:
        """See `BinaryMasks`; of a class they are in the order of their names as text: 1, 10, 2.

        Raises:
            UsageError: a tested class has no images.
        """
        found, without = {}, []
        for class_id, folder in self._folders.items():
            paths = sorted((self.root / folder).glob("[!.]*.jpg"), key=lambda path: path.stem)
            without += [folder][: not paths]
            for path in paths:
                files = ImageFiles(path, path.with_suffix(".png"))
                found[f"{folder}/{path.stem}"] = MaskedImage(class_id, files)
        if without:
            raise UsageError(
                f"{self.root} has no images of {len(without)} tested classes: "
                f"{name_some(without)}. {self.remedy()}"
            )
        return found


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
