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

DC_SAM = "dc_sam"
MIOU = "mIoU"
JF = "J&F"
SERVER = "G"
"""Class mIoU in percent, of a benchmark without folds or the mean of its folds; the mean of J and
F; and what YouTube-VOS's server says of the masks that a run writes."""


@dataclass(frozen=True)
class Benchmark:
    """What is tested on, and how."""

    title: str
    """As the tables call it."""
    script: str = "eval_image.py"
    folds: tuple[int, ...] = ()
    values: Mapping[str, str] = field(default_factory=lambda: {MEAN: "miou", MIOU: "miou"})
    """Column -> the entry of a run's results.json; where there are folds, their mean is meant."""
    flags: Mapping[str, object] = field(default_factory=dict)
    """Further flags that decide the result."""
    paths: Mapping[str, str] = field(default_factory=lambda: {"datapath": ""})
    """Flag -> folder, seen from that of the data sets."""
    data: str = ""
    """As the script calls it (default: as it is called here)."""
    drawn: bool = True
    """Whether seeds draw what is tested."""
    smoke: Mapping[str, object] = field(default_factory=dict)
    """Flags that make a smoke run short."""
    queries: int | None = None
    """Images in which something is looked for, in one run; None: not known here."""
    references: int | None = 1
    """Images that are shown for each of them, with one shot; None: a few for all."""

    @property
    def takes_shots(self) -> bool:
        """Whether it is told how many references a class has."""
        return self.script in ("eval_image.py", "eval_instance.py")


TEST_EPISODES = 1000
"""Of the DC-SAM paper's protocol."""
SMOKE_EPISODES = 4


def _episodes(title: str) -> Benchmark:
    """A benchmark of images as the DC-SAM paper tests it."""
    return Benchmark(
        title,
        folds=FOLDS,
        flags={"test_episodes": TEST_EPISODES},
        smoke={"test_episodes": SMOKE_EPISODES},
        queries=TEST_EPISODES,
    )


def _protocol(
    title: str,
    data: str,
    protocol: str,
    folds: tuple[int, ...],
    queries: int,
) -> Benchmark:
    """A benchmark of images under a named protocol, at whose size masks are compared."""
    return Benchmark(
        title,
        values=dict.fromkeys((MEAN, MIOU), "protocol_miou"),
        folds=folds,
        flags={"protocol": protocol},
        data=data,
        smoke={"test_episodes": SMOKE_EPISODES},
        queries=queries,
    )


def _instances(title: str, data: str, images: int) -> Benchmark:
    """A benchmark of few-shot instance segmentation, the mean of its ten published draws."""
    return Benchmark(
        title,
        "eval_instance.py",
        values={"AP box": "box.ap", "AP mask": "mask.ap"},
        data=data,
        drawn=False,
        smoke={"seeds": 1, "test_images": SMOKE_EPISODES},
        queries=10 * images,
        references=None,
    )


def _present(title: str, data: str, images: int) -> Benchmark:
    """A benchmark of semantic segmentation where only classes of the ground truth are asked."""
    return Benchmark(
        title,
        "eval_semantic.py",
        values={MIOU: "miou"},
        flags={"protocol": f"{data}_present"},
        data=data,
        smoke={"images": SMOKE_EPISODES},
        queries=images,
        references=None,
    )


def _objects(title: str, path: str, folder: str, data: str = "", **flags: object) -> Benchmark:
    """A benchmark of videos whose objects are given by masks."""
    paths = {f"{path}_path": folder}
    values = {} if flags else VIDEO_VALUES
    return Benchmark(
        title, "eval_video.py", values=values, flags=flags, paths=paths, data=data, drawn=False
    )


ICVOS_VIDEOS = 369
"""One first frame in each; a video of several classes is looked at for each of them."""
LVIS_FOLDS = tuple(range(10))
VIDEO_VALUES = {"J": "j", "F": "f", "J&F": "jf"}
BENCHMARKS = {
    "pascal": _episodes("PASCAL-5i"),
    "coco": _episodes("COCO-20i"),
    "coco2pascal": _episodes("COCO-20i to PASCAL-5i"),
    "icvos": Benchmark("IC-VOS", "eval_video.py", values=VIDEO_VALUES, queries=ICVOS_VIDEOS),
    "lvos": Benchmark("LVOS v2", "eval_video.py", values=VIDEO_VALUES),
    "coco_legacy": _protocol("COCO-20i", "coco", "coco_legacy", FOLDS, 1000),
    "pascal_legacy": _protocol("PASCAL-5i", "pascal", "pascal_legacy", FOLDS, 1000),
    "coco_padded": _protocol("COCO-20i", "coco", "coco_padded", FOLDS, TEST_EPISODES),
    "pascal_padded": _protocol("PASCAL-5i", "pascal", "pascal_padded", FOLDS, TEST_EPISODES),
    "lvis92i_turns": _protocol("LVIS-92i", "lvis92i", "lvis92i_turns", LVIS_FOLDS, 2300),
    "pascal_part_legacy": _protocol(
        *("PASCAL-Part", "pascal_part", "pascal_part_legacy", FOLDS, 2500)
    ),
    "coco_segic": _protocol("COCO-20i", "coco", "coco_voc_words", FOLDS, 1000),
    "fss1000_segic": _protocol("FSS-1000", "fss1000", "fss1000_folder_names", (), 2400),
    "lvis92i_segic": _protocol(
        *("LVIS-92i", "lvis92i", "lvis92i_self_reference", LVIS_FOLDS, 2300)
    ),
    "coco_present": _present("COCO", "coco", 40_504),
    "ade20k_present": _present("ADE20K", "ade20k", 2000),
    "pc459_present": _present("PC-459", "pc459", 5105),
    "a847_present": _present("A-847", "a847", 2000),
    "coco_novel": _instances("COCO-NOVEL", "coco_novel", 5000),
    "coco2voc": _instances("COCO2VOC", "coco2voc", 1449),
    "davis": _objects("DAVIS 2017", "davis", "DAVIS"),
    "davis16": _objects("DAVIS 2016", "davis", "DAVIS"),
    "ytvos18_segic": _objects(
        *("YouTube-VOS 2018", "ytvos18", "YouTube-VOS-2018"),
        data="ytvos18",
        save_masks=True,
        first_objects=True,
    ),
    "ytvos18": _objects("YouTube-VOS 2018", "ytvos18", "YouTube-VOS-2018", save_masks=True),
}
"""By the names that rows give them."""


@dataclass(frozen=True)
class Training:
    """One training run, for each fold where its benchmark has folds."""

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
    def method(self) -> str:
        """What learns."""
        return str(self.flags.get("method", DC_SAM))

    @property
    def folds(self) -> bool:
        """Whether there is one run for each fold."""
        return self.benchmark in BENCHMARKS and bool(BENCHMARKS[self.benchmark].folds)


@dataclass(frozen=True)
class Released:
    """Public weights, tested as they are."""

    name: str
    """Of the folder of its results."""
    flags: Mapping[str, object]
    """What names them on the command line of an evaluation."""
    smoke: Mapping[str, object] = field(default_factory=dict)
    """Further flags that make a smoke run short."""


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
    """What is tested; None: what `released` names."""
    shots: int = 1
    given_masks: bool = False
    """The first frame's mask is given: SAM 2 carries it on."""
    masks_of: str = ""
    """The other method whose masks of the first frame are given; empty: the true ones, so that
    nothing but SAM 2's tracking is tested."""
    carried: bool = False
    """The original SAM 2 carries on the masks that the model finds on a video's first frame."""
    released: Released | None = None
    """What is tested where there is no training; None: the original SAM 2."""
    flags: Mapping[str, object] = field(default_factory=dict)
    """Further flags of the evaluation that decide its result."""
    missing: str = ""
    """Why this row cannot be measured here; it is shown with the paper's number alone."""
    counted: Callable[[], Mapping[str, Value]] | None = None
    """What needs no data, by column: parameters, operations, classes."""

    @property
    def model(self) -> Mapping[str, object]:
        """The flags that name the model which is tested; none of the original SAM 2."""
        if self.training:
            return self.training.flags
        return self.released.flags if self.released else {}

    @property
    def measured(self) -> bool:
        """Whether something is evaluated, rather than only counted."""
        return bool(self.benchmark) and not self.missing

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that there is a number for; none where there are no folds."""
        return BENCHMARKS[self.benchmark].folds if self.measured else ()

    @property
    def title(self) -> str:
        """The label, and what is tested."""
        tested = [BENCHMARKS[self.benchmark].title] if self.benchmark else []
        shots = self.benchmark and BENCHMARKS[self.benchmark].takes_shots
        return ", ".join([self.label, *tested, *([f"{self.shots}-shot"] if shots else [])])


@dataclass(frozen=True)
class Table:
    """A table (or figure) of a paper; of other methods only rows whose masks can be given."""

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
