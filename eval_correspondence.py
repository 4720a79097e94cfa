"""Evaluate a method's image features on semantic correspondence: PCK on SPair-71k.

    python eval_correspondence.py --method insid3 --rule soft --datapath Datasets
    python eval_correspondence.py --ckpt last.safetensors --datapath Datasets

Each place of the source picture is looked for in the target, by the cosine of the features in which
the method compares pictures (see Method.place_features). torchrun spreads the pictures over
processes and the numbers stay the same; an interrupted evaluation goes on where it was. The output
folder gets results.json, items.jsonl (one line for each source picture), contact_sheet.png and
settings.json.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import answer_early, option, run_script
from common.errors import UsageError
from data.spair import LAYOUTS, SPLITS
from evaluation.choices import RULES
from evaluation.protocol import Followed, Protocol, protocol_option, values_of
from evaluation.subject_options import SubjectOptions, parse_subject
from model.method_options import MethodOptions

SCRIPT = "eval_correspondence.py"


@dataclass(frozen=True)
class CorrespondenceOptions:
    """What is evaluated, and how."""

    protocol: str | None = protocol_option(SCRIPT)
    datapath: Path = option(Path("Datasets"), "folder that holds SPair-71k/")
    split: str = option("test", "which pairs", SPLITS)
    layout: str = option("large", "all pairs of the split, or a small part of them", LAYOUTS)
    rule: str = option(
        "nearest", "take the most similar cell, or INSID3's weighted mean around it", RULES
    )

    @property
    def followed(self) -> Followed:
        """The protocol, and what is not as in it."""
        found = values_of(self, "split", "layout", "rule")
        return Protocol.followed(SCRIPT, "spair71k", found, self.protocol)

    @property
    def test(self) -> str:
        """What a folder of results is called after, beside the method."""
        return f"spair71k_{self.split}_{self.layout}_{self.rule}"

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = self.datapath.is_dir()
        return [] if found else [f"--datapath: no such folder: {self.datapath}"]


def parse_options() -> tuple[list[Any], MethodOptions | None]:
    (options, about), method_options = parse_subject(
        __doc__, (CorrespondenceOptions, SubjectOptions), SCRIPT
    )
    if about.feature_cache:
        raise UsageError("--feature_cache: places are compared by features that it does not hold")
    return [options, about], method_options


answer_early(__name__, parse_options)

import time
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from tqdm import tqdm

from common.distributed import process_group
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.visualize import PREDICTION_COLOUR, TRUTH_COLOUR, SheetRow, contact_sheet, write_png
from data.classes import VOC_CLASSES, VOC_TO_COCO
from data.spair import KeypointPair, SPair71k
from evaluation.correspondence import SHARES, Correspondence, summarise
from evaluation.exposure import Exposure
from evaluation.item_log import ItemLog
from evaluation.subject import Subject


def main() -> int:
    (options, about), method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(about.device) as processes:
        subject = Subject.load(about, method_options, processes.device, processes.is_main)
        model = subject.method
        if not model.compares_places:
            raise UsageError(f"{model.name} has no image features to compare places by")
        data = SPair71k(options.datapath, options.split, options.layout)
        pairs = {s: list(some) for s, some in groupby(data.pairs, lambda pair: pair.source)}
        folder = about.folder(model.name, options.test)
        settings = {
            "benchmark": "spair71k",
            "protocol": options.followed.protocol.name,
            "rule": options.rule,
            "split": options.split,
            "layout": options.layout,
            "data": str(options.datapath.resolve()),
            **subject.settings,
        }
        log = ItemLog(folder, processes.rank)
        if processes.is_main:
            claim_folder(folder, settings)
        mine = log.share_left(list(pairs), processes)
        finder = Correspondence(model, data, options.rule, processes.device, about.precision)
        for source in tqdm(mine, "SPair-71k", disable=not processes.is_main, leave=False):
            log.append([finder.score(pairs[source])])
        processes.wait()
        if processes.is_main:
            shown = {pair.category for pair in data.pairs}
            classes = {c: VOC_TO_COCO[c] for c, name in VOC_CLASSES.items() if name in shown}
            exposure = Exposure.of(subject.facts, classes)
            results = {
                **summarise(log.join()),
                **settings,
                **options.followed.results(exposure),
                **exposure.results(subject.facts, VOC_CLASSES),
                **subject.results,
                "seconds": round(time.time() - start, 1),
            }
            write_json(folder / "results.json", results)
            rows = [row(finder, pair) for pair in data.pairs[: about.sheet_rows]]
            if rows:
                heading = f"{options.followed}, {subject.title}, {exposure}"
                sheet = contact_sheet(("source", "ground truth", "found"), rows, heading)
                write_png(folder / "contact_sheet.png", sheet)
            print_results(results, options.followed, folder)
    return 0


def row(finder: Correspondence, pair: KeypointPair) -> SheetRow:
    """A pair with its places, those that are known and those that are found."""
    source, target = finder.data.read(pair.source), finder.data.read(pair.target)
    tiles = [
        dotted(source, pair.source_points, TRUTH_COLOUR),
        dotted(target, pair.target_points, TRUTH_COLOUR),
        dotted(target, finder.find(pair).cpu().numpy(), PREDICTION_COLOUR),
    ]
    return SheetRow(tiles, pair.category)


def dotted(image: np.ndarray, points: np.ndarray, colour: Sequence[int]) -> np.ndarray:
    """An image, H x W x 3 uint8, with a dot at each place, P x 2."""
    rows, columns = np.indices(image.shape[:2])
    radius = max(2, max(image.shape[:2]) / 60)
    result = image.copy()
    for x, y in points:
        result[(columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2] = colour
    return result


def print_results(results: Mapping[str, Any], followed: Followed, folder: Path) -> None:
    tested = f"{followed}, {results['exposure']}, {results['pairs']} pairs"
    print(f"\n{results['method']}, {tested}")
    for title, name in (("mean of pairs", "pck"), ("of all places", "pck_over_points")):
        scores = "".join(f"  @{share} {results[name][str(share)]:5.1f}" for share in SHARES)
        print(f"  PCK {title:<14}{scores}")
    print(f"written to {folder}: results.json, items.jsonl, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
