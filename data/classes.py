"""The classes of every benchmark and how they are divided into folds.

Class ids start at 1; 0 is the background and 255 an ignored pixel.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from common.errors import UsageError

Role = Literal["train", "test"]

BENCHMARKS = ("pascal", "coco", "coco_all", "coco2pascal")
"""Those that are trained on, too."""
TESTED = (
    *(*BENCHMARKS, "fss1000", "lvis92i", "paco_part", "pascal_part", "perseg", "permis"),
    *("isaid5i", "isic2018", "chest_xray", "suim", "deepglobe"),
)
FOLDS = (0, 1, 2, 3)
FOLDS_OF: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(TESTED, (0,)),
    **dict.fromkeys((*BENCHMARKS, "paco_part", "pascal_part"), FOLDS),
    "isaid5i": (0, 1, 2),
    "lvis92i": tuple(range(10)),
}
SAMPLERS = ("class", "image")
"""What an episode starts from: a class drawn uniformly, or an image in shuffled order."""

_VOC = """
    aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse,
    motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
"""
_COCO = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
    fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant,
    bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
    sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
    wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
    hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock,
    vase, scissors, teddy bear, hair drier, toothbrush
"""


def numbered(names: str) -> dict[int, str]:
    """Names between commas by their numbers, from 1 on."""
    return {number: name.strip() for number, name in enumerate(names.split(","), start=1)}


VOC_CLASSES: dict[int, str] = numbered(_VOC)
"""The 20 classes of PASCAL VOC by id."""
COCO_CLASSES: dict[int, str] = numbered(_COCO)
"""The 80 categories of COCO, numbered 1 to 80 without the gaps of `COCO_CATEGORY_IDS`."""

_UNUSED_CATEGORY_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS: dict[int, int] = dict(
    enumerate((i for i in range(1, 91) if i not in _UNUSED_CATEGORY_IDS), start=1)
)
"""Class id 1 to 80 -> `category_id` in COCO's instance annotations, 1 to 90."""

_RENAMED = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
_COCO_IDS = {name: number for number, name in COCO_CLASSES.items()}
VOC_TO_COCO: dict[int, int] = {
    number: _COCO_IDS[_RENAMED.get(name, name)] for number, name in VOC_CLASSES.items()
}
"""VOC class id -> id of the COCO category that means the same."""
_VOC_WORDS = {coco: voc for voc, coco in _RENAMED.items()}
COCO_TO_VOC: dict[int, int] = {coco: voc for voc, coco in VOC_TO_COCO.items()}


def in_words(name: str) -> str:
    """A class's name as people say it: no underscores, and a part is one of its object.

    Data sets write wine_glass, and bottle:cap for the cap of a bottle.
    """
    return " of ".join(reversed(name.replace("_", " ").split(":")))


def every_nth(classes: Sequence[int], benchmark: str, fold: int) -> tuple[int, ...]:
    """One class of as many as there are folds, from the fold's number on; a rest is in no fold."""
    folds = len(FOLDS_OF[benchmark])
    return tuple(classes[fold::folds][: len(classes) // folds])


def refuse_fold(benchmark: str, fold: int) -> None:
    """
    Raises:
        UsageError: there is no such benchmark or fold.
    """
    if benchmark not in TESTED:
        raise UsageError(f"no benchmark {benchmark!r}: choose one of {', '.join(TESTED)}")
    folds = FOLDS_OF[benchmark]
    if fold not in folds:
        *some, last = map(str, folds)
        choice = f"{', '.join(some)} or {last}" if some else last
        raise UsageError(f"no fold {fold} of {benchmark}: choose {choice}")


def fold_classes(benchmark: str, fold: int, role: Role) -> tuple[int, ...]:
    """Return the ids of the classes that a fold trains on or tests on, ascending.

    pascal: five classes in a row are tested. coco: every fourth category is tested, starting with
    category `fold + 1` (with categories counted from 0, category c is in fold c mod 4).
    coco_all: all 80 categories in both roles; the fold does not matter. coco2pascal: trained on
    the COCO categories of that fold (COCO ids), tested on the VOC classes whose category is
    untrained (VOC ids; table 11).

    Raises:
        UsageError: there is no such benchmark or fold.
    """
    refuse_fold(benchmark, fold)
    if benchmark not in BENCHMARKS:
        raise UsageError(f"{benchmark} is for eval_image.py only")
    if benchmark == "coco_all":
        return tuple(COCO_CLASSES)
    if benchmark == "pascal":
        tested = set(range(5 * fold + 1, 5 * fold + 6))
        classes = VOC_CLASSES
    else:
        tested = set(range(fold + 1, 81, 4))
        classes = COCO_CLASSES
        if benchmark == "coco2pascal" and role == "test":
            return tuple(sorted(COCO_TO_VOC[c] for c in tested if c in COCO_TO_VOC))
    return tuple(c for c in classes if (c in tested) == (role == "test"))


def class_meanings(benchmark: str, fold: int, role: Role) -> dict[int, int]:
    """Id of each class that a fold trains or tests on -> the COCO category that means the same."""
    of_voc = benchmark == "pascal" or (benchmark == "coco2pascal" and role == "test")
    return {c: VOC_TO_COCO[c] if of_voc else c for c in fold_classes(benchmark, fold, role)}


def in_voc_words(names: Mapping[int, str]) -> dict[int, str]:
    """Names of COCO's categories, those that VOC has too in VOC's words: aeroplane for airplane."""
    return {number: _VOC_WORDS.get(name, name) for number, name in names.items()}
