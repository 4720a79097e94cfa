"""The benchmarks by name: what is trained on and what is tested on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.distributed import Processes
from common.errors import UsageError
from data.binary_masks import ChestXray, Isic, PerMis, PerSeg
from data.class_index import ClassLists, fingerprint
from data.classes import BENCHMARKS, Role, fold_classes
from data.coco import Coco
from data.fss1000 import Fss1000
from data.lvis import Lvis
from data.options import DataOptions
from data.parts import PacoPart, PascalPart
from data.pascal import Pascal
from data.pixel_classes import DeepGlobe, Isaid, Suim
from data.reader import Reader

TESTED_ONLY: Mapping[str, type[Reader]] = {
    "fss1000": Fss1000,
    "lvis92i": Lvis,
    "paco_part": PacoPart,
    "pascal_part": PascalPart,
    "perseg": PerSeg,
    "permis": PerMis,
    "isaid5i": Isaid,
    "isic2018": Isic,
    "chest_xray": ChestXray,
    "suim": Suim,
    "deepglobe": DeepGlobe,
}
"""The readers of benchmarks that are never trained on."""


class Split:
    """The training or the test side of a benchmark: the images that show a fold's classes."""

    def __init__(
        self, reader: Reader, images: Role, classes: Role, sampler: str | None = None
    ) -> None:
        """
        Args:
            images: of the training or the validation set.
            classes: those that are trained or tested on.
            sampler: how episodes are drawn, see `data.sampler`; None takes the reader's own.
        """
        self.reader = reader
        self.sampler = sampler or reader.sampler
        self.images = images
        self.role = classes
        self.benchmark = reader.benchmark
        self.domain: str = reader.domain
        """What the pictures are: photographs, or drawings of this project."""
        self.fold = reader.fold
        self.classes: tuple[int, ...] = reader.classes_of(classes)
        self.class_names: Mapping[int, str] = {c: reader.class_names[c] for c in self.classes}

    @cached_property
    def class_lists(self) -> ClassLists:
        """Image name -> ids of the fold's classes it counts for. The first use scans the masks."""
        return self.reader.class_lists(self.images, self.role)

    def fingerprint(self) -> str:
        """16 hex digits of the images' names and of the sizes of image and mask files in bytes.

        No file is opened and the folder's place does not count: other images, masks or lists
        change it, and a copy elsewhere does not. It takes a second or two for all of COCO.
        """
        files = {name: self.reader.files_of(name) for name in sorted(self.class_lists)}
        return fingerprint(files, times=False)[:16]

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return an image (H x W x 3 uint8 RGB) and its class ids (H x W uint8; 255 ignored).

        Only where the data set has a mask of class ids, see `data.reader.MaskReader`.
        """
        return self.reader.read(name)

    def read_class(self, name: str, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and where it shows a class, see `data.reader.Reader.read_class`."""
        return self.reader.read_class(name, class_id)


@dataclass(frozen=True)
class Benchmark:
    """Both sides of a benchmark for one fold; nothing is scanned before it is used."""

    name: str
    fold: int
    training: Split
    held_out: Split
    """Validation images of the classes that are trained on: a checkpoint may be chosen by them."""
    validation: Split
    """Classes that training never sees (all 80 again for coco_all)."""


def make_benchmark(
    benchmark: str,
    datapath: Path,
    fold: int,
    *,
    training_list: str | None = None,
    lists: Path | None = None,
    sampler: str | None = None,
) -> Benchmark:
    """Open a benchmark by name.

    Args:
        benchmark: "pascal", "coco", "coco_all" or "coco2pascal".
        datapath: the folder that contains VOC2012 and COCO2014, or (where one is enough) that one.
        fold: 0 to 3.
        training_list: see `data.pascal.Pascal`.
        lists: a folder with lists in the community's format, instead of scanning masks.
        sampler: "class" or "image" first, see `data.sampler`; None takes each data set's own.

    Raises:
        UsageError: no such benchmark, fold or folder, a folder in another layout, or options that
            do not go together.
    """
    fold_classes(benchmark, fold, "test")
    if training_list is not None and benchmark != "pascal":
        raise UsageError(f"a training list can be chosen for pascal only, not for {benchmark}")
    if lists is not None and benchmark == "coco2pascal":
        raise UsageError("coco2pascal reads two data sets and takes no lists")
    common = {"benchmark": benchmark, "lists": lists}
    if benchmark == "pascal":
        training = tested = Pascal(
            Pascal.folder_in(datapath), fold, training_list=training_list, **common
        )
    elif benchmark == "coco2pascal":
        training = Coco(Coco.folder_in(datapath), fold, **common)
        tested = Pascal(Pascal.folder_in(datapath), fold, **common)
    else:
        training = tested = Coco(Coco.folder_in(datapath), fold, **common)
    return Benchmark(
        name=benchmark,
        fold=fold,
        training=Split(training, images="train", classes="train", sampler=sampler),
        held_out=Split(training, images="test", classes="train", sampler=sampler),
        validation=Split(tested, images="test", classes="test", sampler=sampler),
    )


def open_tested(
    data: DataOptions, processes: Processes, reader_options: Mapping[str, Any] | None = None
) -> Split:
    """Open the tested side of what the flags name, also of a benchmark that is never trained on.

    Args:
        reader_options: of the readers of such benchmarks.

    Raises:
        UsageError: see `make_benchmark`.
    """
    if data.benchmark in BENCHMARKS:
        return open_benchmark(data, processes, lambda b: [b.validation]).validation
    given = {"--lists": data.lists, "--training_list": data.training_list}
    if useless := [flag for flag, value in given.items() if value is not None]:
        raise UsageError(f"{data.benchmark} takes no {useless[0]}")
    opener = TESTED_ONLY[data.benchmark]
    reader = opener(opener.folder_in(data.datapath), fold=data.fold, **(reader_options or {}))
    split = Split(reader, images="test", classes="test", sampler=data.sampler)
    if processes.is_main:
        _ = split.class_lists
    processes.wait()
    return split


def open_benchmark(
    data: DataOptions, processes: Processes, splits: Callable[[Benchmark], Sequence[Split]]
) -> Benchmark:
    """Open what the flags name; the main process scans the masks, the others read its cache.

    Args:
        splits: those that will be used.
    """
    benchmark = make_benchmark(
        data.benchmark,
        data.datapath,
        data.fold,
        training_list=data.training_list,
        lists=data.lists,
        sampler=data.sampler,
    )
    if processes.is_main:
        for split in splits(benchmark):
            _ = split.class_lists
    processes.wait()
    return benchmark


@dataclass(frozen=True)
class EpisodeKey:
    """What an episode is made of; names are those of images of one split."""

    class_id: int
    query: str
    support: tuple[str, ...]
