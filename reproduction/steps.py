"""From recipes to command lines: for the paper's sizes on so many GPUs, or for a smoke run."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reproduction.recipe import VIDEO_BENCHMARKS, Row, Training

TEST_EPISODES = 1000
"""The paper's protocol."""
ORIGINAL = "original"
"""Stands for a training's name where SAM 2 is tested as it was published."""
SAM_2 = "sam2.1_hiera_l"

SMOKE_SIZES = {"max_iterations": 2, "validation_episodes": 2, "nworker": 0}
SMOKE_BATCH = 2
SMOKE_EPISODES = 4
SMOKE_DATA = {
    "voc": ("--train", 120, "--val", 60, "--seed", 3),
    "coco": ("--train", 160, "--val", 120, "--seed", 3),
    "icvos": ("--videos", 2, "--frames", 3, "--seed", 3),
    "davis": ("--videos", 2, "--frames", 3, "--seed", 3),
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
}
"""What a benchmark reads."""


@dataclass(frozen=True)
class Settings:
    """How recipes are run."""

    work: Path
    datapath: Path
    gpus: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the evaluation's episodes or supports."""
    folds: tuple[int, ...] = (0, 1, 2, 3)
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
    return settings.folds if row.folds else (None,)


def seeds_of(row: Row, settings: Settings) -> Sequence[int | None]:
    """The seeds with which a row is evaluated; None where nothing is drawn."""
    return (None,) if row.given_masks else settings.seeds


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
        if "episodes_per_epoch" in flags:
            flags["episodes_per_epoch"] = SMOKE_EPISODES
        batch = at_once = SMOKE_BATCH
    processes = math.gcd(batch, settings.gpus)
    at_once = math.gcd(batch // processes, at_once)
    machine += ["--bsz", at_once, "--accumulate", batch // processes // at_once]
    folder = training_folder(training, fold, settings)
    where = () if fold is None else ("--fold", fold)
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
    """Where a training writes."""
    folder = settings.work / "train" / _name_of(training, settings)
    return folder if fold is None else folder / f"fold{fold}"


def evaluation_step(row: Row, fold: int | None, seed: int | None, settings: Settings) -> Step:
    """The evaluation of a row on one fold with one seed."""
    folder = evaluation_folder(row, fold, seed, settings)
    of_videos = row.benchmark in VIDEO_BENCHMARKS
    build = _video_evaluation if of_videos else _image_evaluation
    recipe, machine = build(row, fold, seed, settings)
    if row.training:
        trained = training_folder(row.training, fold, settings) / "last.safetensors"
        machine += ("--ckpt", trained)
    return Step(
        folder=folder,
        script=("eval_video.py" if of_videos else "eval_image.py",),
        recipe=words(*recipe),
        machine=words(*machine, "--output", folder),
        processes=settings.gpus,
    )


def evaluation_folder(row: Row, fold: int | None, seed: int | None, settings: Settings) -> Path:
    """Where the evaluation of a row on one fold with one seed writes."""
    test = f"{row.benchmark}-{row.shots}shot" + ("-given" if row.given_masks else "")
    test += f"-{row.masks_of}" if row.masks_of else ""
    folder = settings.work / "evaluate" / _name_of(row.training, settings) / test
    folder = folder if fold is None else folder / f"fold{fold}"
    return folder if seed is None else folder / f"seed{seed}"


def _image_evaluation(
    row: Row, fold: int | None, seed: int | None, settings: Settings
) -> tuple[tuple, tuple]:
    episodes = SMOKE_EPISODES if settings.smoke else TEST_EPISODES
    recipe = (
        *("--benchmark", row.benchmark, "--fold", fold, "--nshot", row.shots),
        *("--test_episodes", episodes, "--seed", seed),
    )
    smoke = ("--nworker", 0, "--sheet_rows", 1) if settings.smoke else ()
    return recipe, ("--datapath", settings.data, *smoke)


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
    if row.training is None:
        recipe += ("--sam2_cfg", SAM_2, *(["--shrunk"] if settings.smoke else []))
    return recipe, machine


def first_frames(row: Row, settings: Settings) -> Path | str:
    """Where the given masks lie; drawn videos lie as such masks do."""
    if not row.masks_of:
        return "oracle"
    return settings.data / ("IC-VOS" if settings.smoke else f"first_frames/{row.masks_of}")


def is_possible(row: Row, settings: Settings) -> bool:
    """Whether a row can be measured: another method's masks have to be there."""
    return not row.masks_of or settings.smoke or Path(first_frames(row, settings)).is_dir()


def _data_steps(row: Row, settings: Settings) -> Iterator[Step]:
    layouts = DATA_OF.get(row.benchmark, ())
    if row.training:
        layouts += DATA_OF[row.training.benchmark]
    for layout in dict.fromkeys(layouts):
        yield Step(
            folder=settings.data / "made" / layout,
            script=("-m", "data.synthetic", layout),
            recipe=words(*SMOKE_DATA[layout]),
            machine=words("--root", settings.data),
        )


def _name_of(training: Training | None, settings: Settings) -> str:
    if training is None:
        return ORIGINAL
    added = re.sub(r"[^\w.]+", "-", " ".join(settings.train_flags)).strip("-")
    return f"{training.name}-{added}" if added else training.name
