"""Check what few-shot instance segmentation is tested on, and list the objects of VOC."""

import json
from collections.abc import Iterable
from pathlib import Path

from common.errors import UsageError
from common.files import parse_json, write_atomically
from data.class_index import name_some
from data.few_shot_instances import (
    DRAWS,
    INSTANCE_BENCHMARKS,
    SPLITS,
    VOC_TEST,
    FewShotInstances,
    TestedPicture,
)
from data.reader import DESCRIPTION_FILE
from data.voc_objects import voc_objects
from tools.preparation.inventory import differences

FEW_SHOT_ADDRESS = "https://github.com/ucbdrive/few-shot-object-detection"
FEW_SHOT_COUNTS = {"coco_novel": 5000, "coco2voc": 1449}
"""Tested images."""
PUBLISHED_SHOTS = (1, 5)
"""How many objects of a class the field's numbers are for."""


def prepare_few_shot(root: Path, workers: int | None) -> list[str]:
    """Make the list of VOC's objects if it is not there; print what is, return what is wrong.

    Args:
        root: the folder that holds cocosplit, COCO2014 and VOC2012.
        workers: processes that read VOC's objects; None takes one per processor.
    """
    problems: list[str] = []
    if not (root / SPLITS).is_dir():
        problems.append(f"missing: {root / SPLITS}, from {FEW_SHOT_ADDRESS} (by hand)")
    if not (root / VOC_TEST).is_file():
        try:
            text = json.dumps(voc_objects(root / VOC_TEST.parent, workers))
            write_atomically(root / VOC_TEST, lambda place: place.write_text(text))
        except UsageError as error:
            problems.append(f"cannot make {root / VOC_TEST}: {error}")
    found: dict[str, int] = {}
    for name in INSTANCE_BENCHMARKS:
        try:
            benchmark = FewShotInstances.open(name, root)
        except UsageError as error:
            problems.append(str(error))
            continue
        found[name] = len(benchmark.pictures)
        objects = len(benchmark.truth["annotations"])
        print(f"  {name}: {found[name]} tested images, {objects} objects of the 20 classes")
        problems += _missing(benchmark.pictures, "tested images")
        if name == "coco_novel":
            problems += check_draws(benchmark)
    if (root / SPLITS / DESCRIPTION_FILE).is_file():
        return problems  # generated: the published counts do not apply
    return problems + differences(found, {name: FEW_SHOT_COUNTS[name] for name in found})


def check_draws(benchmark: FewShotInstances) -> list[str]:
    """Print how many draws of shown objects are complete, and return what is wrong with others."""
    shots, draws = PUBLISHED_SHOTS, DRAWS
    description = benchmark.datapath / SPLITS / DESCRIPTION_FILE
    if description.is_file():
        facts = parse_json(description.read_text())
        shots, draws = facts["shots"], facts["draws"]
    problems, pictures = [], {}
    for count in shots:
        whole = 0
        for seed in range(draws):
            try:
                shown = benchmark.shown(count, seed)
            except UsageError as error:
                problems.append(str(error))
                continue
            whole += 1
            pictures |= {one.picture.path: one.picture for some in shown for one in some}
        print(f"  {count}-shot: {whole} of {draws} draws of shown objects")
    return problems + _missing(pictures.values(), "images of shown objects")


def _missing(pictures: Iterable[TestedPicture], what: str) -> list[str]:
    paths = [str(picture.path) for picture in pictures if not picture.path.is_file()]
    return [f"{len(paths)} {what} are missing: {name_some(paths)}"][: len(paths)]
