"""From recipes to command lines: for the paper's sizes on so many GPUs, or for a smoke run."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reproduction.recipe import BENCHMARKS, SMOKE_EPISODES, Row, Training

ORIGINAL = "original"
"""Stands for a training's name where SAM 2 is tested as it was published."""
SAM_2 = "sam2.1_hiera_l"

PAPER_VIDEOS = ("icvos", "lvos")
"""Video benchmarks of the DC-SAM paper, with paths of their own."""

SMOKE_SIZES = {"max_iterations": 2, "validation_episodes": 2, "nworker": 0}
SMOKE_BATCH = 2
SMOKE_DATA = {
    "voc": ("--train", 120, "--val", 60, "--seed", 3),
    "coco": ("--train", 240, "--val", 120, "--seed", 3),  # five objects of every VOC class
    "icvos": ("--videos", 2, "--frames", 3, "--seed", 3),
    "davis": ("--videos", 2, "--frames", 3, "--seed", 3),
    "ytvos": ("--videos", 2, "--frames", 3, "--seed", 3),
    "coco2017": ("--train", 60, "--val", 20, "--seed", 3),
    "ade20k": ("--train", 40, "--val", 20, "--seed", 3),
    "objects365": ("--train", 20, "--seed", 3),
    "paco_part": ("--classes", 4, "--val", 8, "--seed", 3),
    "pascal_part": ("--classes", 4, "--val", 20, "--seed", 3),
    "fss1000": ("--classes", 4, "--seed", 3),
    "lvis": (),
    "few_shot": (),
}
"""Layouts of generated data, with flags of `python -m data.synthetic`."""
DATA_OF = {
    "pascal": ("voc",),
    "coco": ("coco",),
    "coco_all": ("coco",),
    "coco_mask_tube": ("coco",),
    "coco2pascal": ("coco", "voc"),
    "icvos": ("coco", "icvos"),
    "lvos": ("davis",),
    "coco_legacy": ("coco",),
    "pascal_legacy": ("voc",),
    "coco_padded": ("coco",),
    "pascal_padded": ("voc",),
    "lvis92i_turns": ("coco2017", "lvis"),
    "pascal_part_legacy": ("pascal_part",),
    "coco_segic": ("coco",),
    "fss1000_segic": ("fss1000",),
    "lvis92i_segic": ("coco2017", "lvis"),
    "coco_present": ("coco",),
    "ade20k_present": ("ade20k",),
    "ytvos18_segic": ("ytvos",),
    "coco_novel": ("voc", "coco", "few_shot"),
    "coco2voc": ("voc", "coco", "few_shot"),
    "davis": ("davis",),
    "davis16": ("davis",),
    "ytvos18": ("ytvos",),
}
"""What a benchmark reads."""
LAYOUTS_OF_SOURCES = {
    "coco_instance": ("coco2017",),
    "coco_panoptic": ("coco2017",),
    "ade20k_panoptic": ("ade20k",),
    "ade20k_semantic": ("ade20k",),
    "lvis": ("coco2017", "lvis"),
    "paco_part": ("paco_part",),
    "objects365": ("objects365",),
}
"""What a source of training pairs reads."""


@dataclass(frozen=True)
class Settings:
    """How recipes are run."""

    work: Path
    datapath: Path
    gpus: int = 1
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of the evaluation's episodes or supports."""
    folds: tuple[int, ...] | None = None
    """Only these folds; None: all of a benchmark."""
    smoke: bool = False
    train_flags: tuple[str, ...] = ()
    """Further flags of every training, which then has a folder of its own."""

    @property
    def data(self) -> Path:
        """Where the data sets are."""
        return self.work / "data" if self.smoke else self.datapath


@dataclass(frozen=True)
class Step:
    """One command, which fills one folder."""

    folder: Path
    script: tuple[str, ...]
    recipe: tuple[str, ...]
    """Flags that decide the result."""
    machine: tuple[str, ...]
    """Flags that do not: paths, and how a batch is divided."""
    processes: int = 1
    resumes: bool = False
    """Whether --resume goes on where it was interrupted."""

    @property
    def words(self) -> tuple[str, ...]:
        """The script and all its flags; those of the recipe have the last word."""
        return (*self.script, *self.machine, *self.recipe)


def words(*parts: object) -> tuple[str, ...]:
    return tuple(str(part) for part in parts)


def as_flags(values: Mapping[str, object]) -> tuple[str, ...]:
    """Flags of a command line; True stands for a switch."""
    return tuple(
        word
        for name, value in values.items()
        for word in (words(f"--{name}") if value is True else words(f"--{name}", value))
    )


def steps_of(row: Row, settings: Settings) -> Iterator[Step]:
    """All steps of a row in the order in which they have to be done."""
    if settings.smoke:
        yield from _data_steps(row, settings)
    for fold in folds_of(row, settings):
        if row.training:
            yield from training_steps(row.training, fold, settings)
        for seed in seeds_of(row, settings):
            yield evaluation_step(row, fold, seed, settings)


def folds_of(row: Row, settings: Settings) -> Sequence[int | None]:
    """The folds that a row is measured on; None where there are none."""
    if not row.measured:
        return ()
    if not row.folds:
        return (None,)
    return [fold for fold in row.folds if settings.folds is None or fold in settings.folds]


def seeds_of(row: Row, settings: Settings) -> Sequence[int | None]:
    """The seeds with which a row is evaluated; None where nothing is drawn."""
    drawn = BENCHMARKS[row.benchmark].drawn and not row.given_masks
    return settings.seeds if drawn else (None,)


def training_steps(training: Training, fold: int | None, settings: Settings) -> Iterator[Step]:
    """A training, after the one that it goes on from."""
    machine = ["--datapath", settings.data]
    if training.start:
        yield from training_steps(training.start, fold, settings)
        machine += ["--ckpt", training_folder(training.start, fold, settings) / "last.safetensors"]
    flags = dict(training.flags)
    batch, at_once = training.batch, training.batch_per_gpu
    if settings.smoke:
        shrunk = {} if training.start else {"shrunk": True}  # else the first checkpoint is
        flags = {**flags, **shrunk, **SMOKE_SIZES}
        short = {"episodes_per_epoch": SMOKE_EPISODES, "warmup": 1}
        flags |= {name: value for name, value in short.items() if name in flags}
        batch = at_once = SMOKE_BATCH
    processes = math.gcd(batch, settings.gpus)
    at_once = math.gcd(batch // processes, at_once)
    machine += ["--bsz", at_once, "--accumulate", batch // processes // at_once]
    folder = training_folder(training, fold, settings)
    where = ("--fold", fold) if training.folds else ()
    yield Step(
        folder=folder,
        script=(training.script,),
        recipe=words(
            *("--benchmark", training.benchmark, *where),
            *as_flags(flags),
            *settings.train_flags,
        ),
        machine=words(*machine, "--output", folder),
        processes=processes,
        resumes=True,
    )


def training_folder(training: Training, fold: int | None, settings: Settings) -> Path:
    """Where a training writes; without folds it is one for all that are tested."""
    folder = settings.work / "train" / _name_of(training, settings)
    return folder / f"fold{fold}" if training.folds else folder


def evaluation_step(row: Row, fold: int | None, seed: int | None, settings: Settings) -> Step:
    """The evaluation of a row on one fold with one seed."""
    folder = evaluation_folder(row, fold, seed, settings)
    build = _video_evaluation if row.benchmark in PAPER_VIDEOS else _evaluation
    recipe, machine = build(row, fold, seed, settings)
    if row.training:
        trained = training_folder(row.training, fold, settings) / "last.safetensors"
        machine += ("--ckpt", trained)
    elif row.released:
        shrunk = {"shrunk": True, **row.released.smoke} if settings.smoke else {}
        recipe += as_flags({**row.released.flags, **shrunk})
    recipe += as_flags(row.flags)
    return Step(
        folder=folder,
        script=(BENCHMARKS[row.benchmark].script,),
        recipe=words(*recipe),
        machine=words(*machine, "--output", folder),
        processes=settings.gpus,
    )


def evaluation_folder(row: Row, fold: int | None, seed: int | None, settings: Settings) -> Path:
    """Where the evaluation of a row on one fold with one seed writes."""
    test = f"{row.benchmark}-{row.shots}shot" + ("-given" if row.given_masks else "")
    test += f"-{row.masks_of}" if row.masks_of else ""
    test += "-carried" if row.carried else ""
    test += "".join(f"-{word.removeprefix('--')}" for word in as_flags(row.flags))
    tested = row.released.name if row.released else _name_of(row.training, settings)
    folder = settings.work / "evaluate" / tested / test
    folder = folder if fold is None else folder / f"fold{fold}"
    return folder if seed is None else folder / f"seed{seed}"


def _evaluation(
    row: Row, fold: int | None, seed: int | None, settings: Settings
) -> tuple[tuple, tuple]:
    """What decides the result, and what does not."""
    benchmark = BENCHMARKS[row.benchmark]
    flags: dict[str, object] = {"benchmark": benchmark.data or row.benchmark}
    flags |= {} if fold is None else {"fold": fold}
    flags |= {"nshot": row.shots} if benchmark.takes_shots else {}
    flags |= benchmark.flags
    flags |= benchmark.smoke if settings.smoke else {}
    flags |= {} if seed is None else {"seed": seed}
    machine = {flag: settings.data / place for flag, place in benchmark.paths.items()}
    if settings.smoke and benchmark.script == "eval_image.py":
        machine |= {"nworker": 0, "sheet_rows": 1}
    return as_flags(flags), as_flags(machine)


def _video_evaluation(
    row: Row, fold: int | None, seed: int | None, settings: Settings
) -> tuple[tuple, tuple]:
    recipe = ("--benchmark", row.benchmark)
    if row.benchmark == "lvos":
        machine = ("--lvos_path", settings.data / ("DAVIS" if settings.smoke else "LVOS"))
    elif row.given_masks:
        machine = ("--icvos_path", settings.data / "IC-VOS")
        recipe += ("--image_size", 512)
        machine += ("--first_frame", first_frames(row, settings))
    else:
        machine = ("--icvos_path", settings.data / "IC-VOS", "--coco_path", settings.data)
        recipe += ("--nshot", row.shots, "--seed", seed)
    if row.carried or not row.model:
        shrunk = settings.smoke and not row.released  # public weights are shrunk by a flag already
        recipe += ("--sam2_cfg", SAM_2, *(["--shrunk"] if shrunk else []))
    return words(*recipe), machine


def first_frames(row: Row, settings: Settings) -> Path | str:
    """Where the given masks lie; drawn videos lie as such masks do."""
    if not row.masks_of:
        return "oracle"
    return settings.data / ("IC-VOS" if settings.smoke else f"first_frames/{row.masks_of}")


def is_possible(row: Row, settings: Settings) -> bool:
    """Whether a row can be measured now: another method's masks have to be there."""
    return not row.masks_of or settings.smoke or Path(first_frames(row, settings)).is_dir()


def _data_steps(row: Row, settings: Settings) -> Iterator[Step]:
    layouts = DATA_OF.get(row.benchmark, ())
    if row.training:
        layouts += DATA_OF[row.training.benchmark]
        for part in str(row.training.flags.get("sources", "")).split(","):
            layouts += LAYOUTS_OF_SOURCES.get(part.partition("=")[0], ())
    for layout in dict.fromkeys(layouts):
        yield Step(
            folder=settings.data / "made" / layout,
            script=("-m", "data.synthetic", layout),
            recipe=words(*SMOKE_DATA[layout]),
            machine=words("--root", settings.data),
        )
    if "objects365" in layouts:  # it comes with boxes
        yield Step(
            folder=settings.data / "made" / "box_masks",
            script=("-m", "tools.box_masks"),
            recipe=words("--sam_model", "tiny"),
            machine=words("--root", settings.data / "Objects365", "--nworker", 0),
        )


def _name_of(training: Training | None, settings: Settings) -> str:
    if training is None:
        return ORIGINAL
    added = re.sub(r"[^\w.]+", "-", " ".join(settings.train_flags)).strip("-")
    return f"{training.name}-{added}" if added else training.name
