"""PASCAL-5i: VOC 2012 with the masks of SBD (SegmentationClassAug).

VOC2012/JPEGImages/<name>.jpg, VOC2012/SegmentationClassAug/<name>.png (class ids, 255 ignored) and
VOC2012/ImageSets/Segmentation/<list>.txt.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from data.class_index import ImageFiles
from data.classes import VOC_CLASSES, Role
from data.reader import MaskReader

PAPER_LIST = "train_sbd"
"""VOC 2012 train and SBD train without VOC 2012 val: the 5,953 images the paper trains on."""
LARGEST_LIST = "trainaug"
"""VOC 2012 train and all of SBD without VOC 2012 val: 10,582 images."""
VOC_LIST = "train"
"""VOC 2012 train alone: 1,464 images."""

_FOLDERS = ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation")


@dataclass
class Pascal(MaskReader):
    """Reads a VOC2012 folder."""

    name = "pascal"
    folder = "VOC2012"
    classes = VOC_CLASSES
    sampler = "image"

    training_list: str | None = None
    """The list of `ImageSets/Segmentation` to train on: `PAPER_LIST`, `LARGEST_LIST`, `VOC_LIST`
    or one of your own. None takes the paper's where it is there and VOC's own else, but never
    leaves a larger list out silently."""

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        missing = [folder for folder in _FOLDERS if not (root / folder).is_dir()]
        return f"is not in the layout of VOC2012: it lacks {', '.join(missing)}" if missing else ""

    def list_path(self, role: Role) -> Path:
        """The file that names the training or validation images.

        Raises:
            UsageError: there is none, or which of several is meant has to be said.
        """
        folder = self.root / "ImageSets" / "Segmentation"
        chosen = "val" if role == "test" else self.training_list
        if chosen is None and (folder / f"{PAPER_LIST}.txt").is_file():
            chosen = PAPER_LIST
        elif chosen is None and (folder / f"{LARGEST_LIST}.txt").is_file():
            raise UsageError(
                f"{folder} has {LARGEST_LIST}.txt but not {PAPER_LIST}.txt, the images the paper "
                f"trains on: name the training list to use ({LARGEST_LIST}, {VOC_LIST}), or make "
                f"the paper's. {self.remedy()}"
            )
        path = folder / f"{chosen or VOC_LIST}.txt"
        if not path.is_file():
            raise UsageError(f"missing image list: {path}. {self.remedy()}")
        return path

    def files(self, role: Role) -> dict[str, ImageFiles]:
        path = self.list_path(role)
        names = path.read_text().split()
        if not names:
            raise UsageError(f"the image list {path} is empty")
        return {name: self.files_of(name) for name in names}

    def files_of(self, name: str) -> ImageFiles:
        return ImageFiles(
            image=self.root / "JPEGImages" / f"{name}.jpg",
            mask=self.root / "SegmentationClassAug" / f"{name}.png",
        )

    def name_of(self, listed_path: str) -> str:
        return Path(listed_path).stem

    def cache(self, role: Role) -> Path:
        return self.root / f"class_pixels_{self.list_path(role).stem}.json"
