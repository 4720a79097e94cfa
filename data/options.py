"""Which data a script works on, as flags."""

from dataclasses import dataclass
from pathlib import Path

from common.cli import option

BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")


@dataclass(frozen=True)
class DataOptions:
    """Which episodes are read."""

    benchmark: str = option("pascal", "whose images and folds", BENCHMARKS)
    datapath: Path = option(Path("Datasets"), "folder that holds VOC2012/ and COCO2014/")
    fold: int = option(0, "which classes are kept for testing", (0, 1, 2, 3))
    nshot: int = option(1, "support images in an episode, 1 to 10")
    lists: Path | None = option(None, "folder of data_list_*.txt files to use instead of scanning")
    training_list: str | None = option(None, "a list in ImageSets/Segmentation, such as trainaug")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if not 1 <= self.nshot <= 10:
            found.append(f"--nshot must be from 1 to 10, not {self.nshot}")
        if not self.datapath.is_dir():
            found.append(
                f"--datapath: no such folder: {self.datapath} "
                "(python -m tools.prepare says how to fill one)"
            )
        if self.lists and not self.lists.is_dir():
            found.append(f"--lists: no such folder: {self.lists}")
        return found
