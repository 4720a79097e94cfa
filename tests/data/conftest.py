"""Small data sets that several tests of this folder read."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.generated import write_coco, write_voc

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sample images, which is no part of the repository."""
    if not REAL.is_dir():
        pytest.skip(f"the real samples are not there: {REAL}")
    return REAL


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generated VOC2012 (120 + 60 images) and COCO2014 (20 + 40 images)."""
    root = tmp_path_factory.mktemp("Datasets")
    write_voc(root / "VOC2012", {"train": 120, "val": 60}, seed=3, workers=0)
    write_coco(root / "COCO2014", {"train": 20, "val": 40}, seed=3, workers=0)
    return root


@pytest.fixture
def make_voc(tmp_path: Path) -> Callable[[Mapping[str, np.ndarray]], Path]:
    """Writes masks by name, and grey images of their sizes, as a VOC2012 folder; all are val."""

    def write(masks: Mapping[str, np.ndarray]) -> Path:
        root = tmp_path / "VOC2012"
        for inner in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
            (root / inner).mkdir(parents=True)
        for name, mask in masks.items():
            Image.new("RGB", mask.shape[::-1], (128, 64, 32)).save(
                root / "JPEGImages" / f"{name}.jpg"
            )
            Image.fromarray(mask.astype(np.uint8)).save(
                root / "SegmentationClassAug" / f"{name}.png"
            )
        names = "".join(f"{name}\n" for name in masks)
        for split in ("train", "val"):
            (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names)
        return root

    return write
