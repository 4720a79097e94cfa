"""What recipes take: operations counted from the model, and hours at an assumed throughput."""

from collections.abc import Iterable, Sequence

from model.dc_sam.config import DcSamOptions
from reproduction import operations, pair_operations
from reproduction.baseline_operations import BASELINE_OPERATIONS
from reproduction.recipe import BENCHMARKS, DC_SAM, TEST_EPISODES, Row, Table, Training
from reproduction.steps import SAM_2

BACKWARD = 2
"""A backward pass costs about twice its forward pass."""
TUBE_FRAMES = 5
OPERATIONS = {**pair_operations.OPERATIONS, **BASELINE_OPERATIONS}
TRAINING_IMAGES = {
    "pascal": (4208, 3726, 2752, 4510),
    "coco": (82_783,) * 4,
    "coco_all": (82_783,),
}
"""Episodes of an epoch by fold: PASCAL's lists; for COCO at most all images of train2014."""
YOUTUBE_VOS_FRAMES = 474 * 27
"""Estimated: the videos, and the segmented frames of one in the mean. All 4,453 videos of its paper
(arXiv 1809.03327) last 335 minutes, 4.5 seconds each, and every fifth of 30 frames a second is."""
TEST_FRAMES = {
    "icvos": 99_549,
    "davis": 1_999,
    "davis16": 1_376,
    **dict.fromkeys(("ytvos18", "ytvos18_segic"), YOUTUBE_VOS_FRAMES),
}
"""Of IC-VOS section 3 of the paper, of DAVIS its validation videos; LVOS v2 is left out, as its
paper has to be asked."""
MEMORIES = 7
SEEDS = 5


def table(chosen: Sequence[tuple[Table, Sequence[Row]]], tera: float) -> str:
    """Markdown: what each row takes on its own, and all of them, whose trainings are shared.

    Args:
        tera: TFLOP/s that a GPU is assumed to do.
    """
    lines = [
        f"Assumed: {tera:g} TFLOP/s on one GPU, {SEEDS} seeds. Reading images is not counted.",
        "",
        "| table | row | benchmark | shots | training (PFLOP) | evaluation (PFLOP) | GPU hours |",
        "|---|---|---|---|---|---|---|",
    ]
    trainings: dict[str, float] = {}
    evaluations: dict[tuple, float] = {}
    for chosen_table, rows in chosen:
        for row in rows:
            if not row.measured:
                continue
            needed = {t.name: training_cost(t) for t in chain(row.training)}
            test = evaluation_cost(row)
            trainings |= needed
            tested = row.training or row.released
            name = tested.name if tested else ""
            how = row.given_masks, row.carried
            evaluations[name, row.benchmark, row.shots, *how] = test or 0.0
            train = sum(needed.values())
            hours = "" if test is None else f"{_hours(train + test, tera):.1f}"
            counted = "not counted" if test is None else f"{test / 1e6:,.1f}"
            lines.append(
                f"| {chosen_table.name} | {row.name} | {row.benchmark} | {row.shots} | "
                f"{train / 1e6:,.1f} | {counted} | {hours} |"
            )
    train, test = sum(trainings.values()), sum(evaluations.values())
    lines.append(
        f"| all | {len(trainings)} trainings | | | {train / 1e6:,.1f} | {test / 1e6:,.1f} | "
        f"{_hours(train + test, tera):.1f} |"
    )
    return "\n".join(lines)


def chain(training: Training | None) -> Iterable[Training]:
    """A training and those before it."""
    while training:
        yield training
        training = training.start


def options_of(training: Training | None) -> DcSamOptions:
    """The model of a training: its own flags or those of the training it goes on from."""
    if training is None:
        return DcSamOptions(sam_version=2, sam_model=SAM_2)
    first = list(chain(training))[-1].flags
    return DcSamOptions(
        backbone=str(first["backbone"]),
        sam_version=int(str(first["sam_version"])),
        sam_model=str(first["sam_model"]),
        image_size=int(str(first["image_size"])),
        num_query=int(str(first["num_query"])),
        fusion=str(first["fusion"]),
        segmenter_fusion="no_sam_fusion" not in first,
        negative_branch="no_negative_branch" not in first,
        cyclic="no_cyclic" not in first,
    )


def training_cost(training: Training) -> float:
    """GFLOP of all its updates, in all folds where there are folds."""
    if training.method in OPERATIONS:
        return _pair_training_cost(training)
    part = operations.count(options_of(training))
    episode = part.frozen + (1 + BACKWARD) * part.learned
    if training.benchmark == "coco_mask_tube":
        episode += (TUBE_FRAMES - 1) * part.segmenter
        episode += (1 + BACKWARD) * _propagated(TUBE_FRAMES - 1, part.decode)
    if training.folds:
        images = sum(TRAINING_IMAGES[training.benchmark])
        return episode * images * int(str(training.flags["epochs"]))
    return episode * training.batch * int(str(training.flags["max_iterations"]))


def _pair_training_cost(training: Training) -> float:
    """Of pairs: both views are encoded, the query is asked for what the reference shows."""
    part = OPERATIONS[training.method](training.flags)
    pair = 2 * part.encoder + part.alone + (1 + BACKWARD) * (2 * part.neck + part.answer_all)
    epochs = int(str(training.flags["epochs"]))
    if "episodes_per_epoch" not in training.flags:
        return pair * sum(TRAINING_IMAGES[training.benchmark]) * epochs
    folds = len(BENCHMARKS[training.benchmark].folds) if training.folds else 1
    return pair * int(str(training.flags["episodes_per_epoch"])) * epochs * folds


def _propagated(frames: int, decode: float) -> float:
    """GFLOP for so many frames after the first one, without their features."""
    memories = [min(number, MEMORIES) for number in range(1, frames + 1)]
    attention = sum(operations.memory_attention(SAM_2, number) for number in memories)
    return attention + frames * decode + (frames + 1) * operations.memory_encoder(SAM_2)


def evaluation_cost(row: Row) -> float | None:
    """GFLOP of its evaluations; None where the number of frames is not known here."""
    method = str(row.model.get("method", DC_SAM))
    if method in OPERATIONS:
        return _pair_evaluation_cost(row, method)
    part = operations.count(options_of(row.training))
    if row.folds:
        more_shots = part.segmenter + part.backbone + part.branches * part.high
        more_shots += part.priors + part.support
        episode = part.frozen + part.learned + (row.shots - 1) * more_shots
        return episode * TEST_EPISODES * len(row.folds) * SEEDS
    frames = TEST_FRAMES.get(row.benchmark)
    if frames is None:
        return None
    return _followed(part, frames) * (1 if row.given_masks else SEEDS)


def _followed(part: operations.Operations, frames: int) -> float:
    """GFLOP of SAM 2 for so many frames of videos."""
    frame = part.segmenter + part.decode + operations.memory_attention(SAM_2, MEMORIES)
    return (frame + operations.memory_encoder(SAM_2)) * frames


def _pair_evaluation_cost(row: Row, method: str) -> float | None:
    benchmark = BENCHMARKS[row.benchmark]
    frames = TEST_FRAMES.get(row.benchmark)
    part = OPERATIONS[method](row.model)
    runs = max(1, len(row.folds)) * (SEEDS if benchmark.drawn else 1)
    if frames is not None and not row.carried:  # the method follows objects itself
        given = not benchmark.drawn and part.frame is not None
        return frames * (part.frame if given else part.target) * runs
    if benchmark.queries is None:
        return None
    images = 1 + row.shots * (benchmark.references or 0)
    query = images * (part.encoder + part.neck) + part.alone + part.answer
    rest = 0.0
    if row.carried:
        rest = _followed(operations.count(options_of(None)), TEST_FRAMES[row.benchmark])
    return (query * benchmark.queries + rest) * runs


def _hours(giga: float, tera: float) -> float:
    return giga / 1e3 / tera / 3600
