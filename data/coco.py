"""COCO-20i and COCO-all: COCO 2014 with class masks of its 80 categories.

COCO2014/{train2014,val2014}/<name>.jpg and COCO2014/annotations/{train2014,val2014}/<name>.png
(class ids 1 to 80). An image's name here contains its folder: `val2014/COCO_val2014_000000000785`.
"""

from pathlib import Path

from common.errors import UsageError
from data.class_index import ImageFiles, name_some
from data.classes import COCO_CLASSES, Role
from data.reader import MaskReader

_FOLDERS: dict[Role, str] = {"train": "train2014", "test": "val2014"}


class Coco(MaskReader):
    """Reads a COCO2014 folder; of a folder with val2014 alone, what is needed to evaluate."""

    name = "coco"
    folder = "COCO2014"
    classes = COCO_CLASSES
    sampler = "class"

    @classmethod
    def layout_problem(cls, root: Path) -> str:
        if any((root / folder).is_dir() for folder in _FOLDERS.values()):
            return ""
        return "is not in the layout of COCO2014: it has neither train2014 nor val2014"

    def files(self, role: Role) -> dict[str, ImageFiles]:
        folder = _FOLDERS[role]
        images, masks = self.root / folder, self.root / "annotations" / folder
        for path in (images, masks):
            if not path.is_dir():
                purpose = "training" if role == "train" else "evaluation"
                raise UsageError(f"{purpose} needs {path}, which is not there. {self.remedy()}")
        image_names = {path.stem for path in images.glob("[!.]*.jpg")}
        mask_names = {path.stem for path in masks.glob("[!.]*.png")}
        for names, what in (
            (mask_names - image_names, f"masks of {masks} have no image in {images}"),
            (image_names - mask_names, f"images of {images} have no mask in {masks}"),
        ):
            if names:
                raise UsageError(
                    f"{len(names)} {what}: {name_some(sorted(names))}. {self.remedy()}"
                )
        if not image_names:
            raise UsageError(f"{images} holds no .jpg file. {self.remedy()}")
        return {
            f"{folder}/{name}": self.files_of(f"{folder}/{name}") for name in sorted(mask_names)
        }

    def files_of(self, name: str) -> ImageFiles:
        return ImageFiles(
            image=self.root / f"{name}.jpg", mask=self.root / "annotations" / f"{name}.png"
        )

    def name_of(self, listed_path: str) -> str:
        path = Path(listed_path)
        return f"{path.parent.name}/{path.stem}"

    def cache(self, role: Role) -> Path:
        return self.root / f"class_pixels_{_FOLDERS[role]}.json"
