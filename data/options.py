"""Which data a script works on, as flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import option, to_json
from data.classes import BENCHMARKS, FOLDS, SAMPLERS


@dataclass(frozen=True)
class DataOptions:
    """Which episodes are read."""

    benchmark: str = option("pascal", "benchmark whose images and folds are used", BENCHMARKS)
    datapath: Path = option(Path("Datasets"), "folder that holds VOC2012/ and COCO2014/")
    fold: int = option(0, "fold, which decides the classes that are kept for testing", FOLDS)
    nshot: int = option(1, "number of support images in an episode, 1 to 10")
    sampler: str | None = option(
        None,
        "what an episode is drawn from first, its class or its query image "
        "(default: the benchmark's own, class for COCO and image for PASCAL)",
        SAMPLERS,
    )
    lists: Path | None = option(
        None, "folder of data_list_*.txt files that are used instead of scanning the masks"
    )
    training_list: str | None = option(
        None, "name of the PASCAL training list in ImageSets/Segmentation, such as trainaug"
    )

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint's header says; of folders it says their names."""
        stored = {name: value for name, value in to_json(self).items() if name != "datapath"}
        return {**stored, "lists": self.lists and self.lists.name}

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
