"""What a recipe is: a row of a table with the paper's numbers, and what measures it again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Value = float | str
"""A number, or (table 11) names."""

FOLDS = (0, 1, 2, 3)
FOLD_COLUMNS = ("F-0", "F-1", "F-2", "F-3")
MEAN = "Mean"
IMAGE_COLUMNS = (*FOLD_COLUMNS, MEAN)
"""Class mIoU of each fold, in percent, and the mean of the folds."""
VIDEO_COLUMNS = ("J", "F", "J&F")
"""Region similarity, contour accuracy and their mean, in percent."""

NAMES = {
    "pascal": "PASCAL-5i",
    "coco": "COCO-20i",
    "coco2pascal": "COCO-20i to PASCAL-5i",
    "icvos": "IC-VOS",
    "lvos": "LVOS v2",
}
"""The benchmarks that are tested on, as the tables call them."""
VIDEO_BENCHMARKS = ("icvos", "lvos")


@dataclass(frozen=True)
class Training:
    """One training run, for each fold where there are folds."""

    name: str
    """Of its folder. Rows of several tables share a training by sharing this object."""
    script: str
    benchmark: str
    flags: Mapping[str, object]
    """Hyper-parameters by the names of the script's flags; a switch has the value True."""
    batch: int
    """Episodes in an update, on all GPUs together."""
    batch_per_gpu: int
    """Episodes that a GPU takes at once; the rest of the batch is accumulated."""
    start: "Training | None" = None
    """The training that this one goes on from."""

    @property
    def folds(self) -> bool:
        """Whether there is one run for each fold."""
        return self.script == "train_image.py"


@dataclass(frozen=True)
class Row:
    """A row of a table: what the paper says, and what measures it."""

    name: str
    label: str
    paper: Mapping[str, Value]
    """By column; a column that is missing has no number in the paper."""
    benchmark: str = ""
    """What is tested on; empty where everything is counted."""
    training: Training | None = None
    """What is tested; None: the original SAM 2, or nothing that was trained."""
    shots: int = 1
    given_masks: bool = False
    """The first frame's mask is given: SAM 2 carries it on."""
    masks_of: str = ""
    """The other method whose masks of the first frame are given; empty: the true ones, so that
    nothing but SAM 2's tracking is tested."""
    counted: Callable[[], Mapping[str, Value]] | None = None
    """What needs no data, by column: parameters, operations, classes."""

    @property
    def measured(self) -> bool:
        """Whether something is evaluated, rather than only counted."""
        return bool(self.benchmark)

    @property
    def folds(self) -> bool:
        """Whether there is a number for each fold."""
        return self.measured and self.benchmark not in VIDEO_BENCHMARKS

    @property
    def title(self) -> str:
        """The label, and what is tested."""
        tested = [NAMES[self.benchmark]] if self.measured else []
        return ", ".join([self.label, *tested, *([f"{self.shots}-shot"] if self.folds else [])])


@dataclass(frozen=True)
class Table:
    """A table (or figure 9) of the paper; of other methods only rows whose masks can be given."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    plot: str = ""
    """The title of the plot's x axis; empty: there is no plot."""
    note: str = ""
    """What a reader of the numbers has to know."""
    places: Mapping[str, int] = field(default_factory=dict)
    """Decimal places by column where they are not those of the measure."""
