"""Evaluate a method's image features on semantic correspondence: PCK on SPair-71k.

    python eval_correspondence.py --method insid3 --rule soft --datapath Datasets
    python eval_correspondence.py --ckpt last.safetensors --datapath Datasets

Each place of the source picture is looked for in the target, by the cosine of the features in which
the method compares pictures (see Method.place_features). torchrun spreads the pictures over
processes and the numbers stay the same; an interrupted evaluation goes on where it was. The output
folder gets results.json, items.jsonl (one line for each source picture), contact_sheet.png and
settings.json.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.cli import checked_options, method_parser, option, run_script
from common.distributed import DEVICES, process_group
from common.errors import UsageError
from common.files import digest
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.trainer import PRECISIONS
from common.visualize import PREDICTION_COLOUR, TRUTH_COLOUR, SheetRow, contact_sheet, write_png
from data.spair import LAYOUTS, SPLITS, KeypointPair, SPair71k
from evaluation.correspondence import RULES, SHARES, Correspondence, summarise
from evaluation.item_log import ItemLog
from model.checkpoint import build_method, entry_of, frozen_fingerprint, load_method
from model.method_options import MethodOptions
from model.registry import READY


@dataclass(frozen=True)
class CorrespondenceOptions:
    """What is evaluated, and how."""

    datapath: Path = option(Path("Datasets"), "folder that holds SPair-71k/")
    split: str = option("test", "which pairs", SPLITS)
    layout: str = option("large", "all pairs of the split, or a small part of them", LAYOUTS)
    rule: str = option(
        "nearest", "take the most similar cell, or INSID3's weighted mean around it", RULES
    )
    ckpt: Path | None = option(None, "checkpoint to evaluate; or give --method")
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    sheet_rows: int = option(8, "number of pairs shown on the contact sheet")
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    @property
    def protocol(self) -> str:
        """What the results call this way of testing."""
        return f"spair71k_{self.split}_{self.layout}_{self.rule}"

    def folder(self, method: str) -> Path:
        """Where results go; by default beside the checkpoint, named after what is tested."""
        tested = self.ckpt.stem if self.ckpt else method
        beside = self.ckpt.parent if self.ckpt else Path("runs")
        return self.output or beside / f"eval_{tested}_{self.protocol}"

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt and not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if not self.datapath.is_dir():
            found.append(f"--datapath: no such folder: {self.datapath}")
        if self.sheet_rows < 0:
            found.append("--sheet_rows cannot be negative")
        return found


def main() -> int:
    options, method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(options.device) as processes:
        if method_options:
            model, facts = build_method(method_options, processes.device, options.fetch)
        else:
            model, facts = load_method(options.ckpt, processes.device)
        if not model.compares_places:
            raise UsageError(f"{model.name} has no image features to compare places by")
        title = entry_of(facts, options.ckpt).title
        data = SPair71k(options.datapath, options.split, options.layout)
        pairs = {s: list(some) for s, some in groupby(data.pairs, lambda pair: pair.source)}
        folder = options.folder(model.name)
        settings = {
            "benchmark": "spair71k",
            "protocol": options.protocol,
            "data": str(options.datapath.resolve()),
            "weights": digest(options.ckpt) if options.ckpt else facts["model"],
            "frozen": frozen_fingerprint(model),
            "precision": options.precision,
        }
        log = ItemLog(folder, processes.rank)
        if processes.is_main:
            claim_folder(folder, settings)
        done = processes.gather(log.join() if processes.is_main else {})[0]
        left = [source for source in pairs if source not in done]
        mine = [left[number] for number in processes.share(len(left))]
        finder = Correspondence(model, data, options.rule, processes.device, options.precision)
        for source in tqdm(mine, "SPair-71k", disable=not processes.is_main, leave=False):
            log.append([finder.score(pairs[source])])
        processes.wait()
        if processes.is_main:
            results = {
                **summarise(log.join()),
                **settings,
                "method": title,
                "checkpoint": options.ckpt and str(options.ckpt),
                "trained_on": (facts.get("data") or {}).get("benchmark"),
                "checkpoint_version": facts["version"],
                "seconds": round(time.time() - start, 1),
            }
            write_json(folder / "results.json", results)
            rows = [row(finder, pair) for pair in data.pairs[: options.sheet_rows]]
            if rows:
                heading = f"{options.protocol}, {title}"
                sheet = contact_sheet(("source", "ground truth", "found"), rows, heading)
                write_png(folder / "contact_sheet.png", sheet)
            print_results(results, folder)
    return 0


def parse_options() -> tuple[CorrespondenceOptions, MethodOptions | None]:
    parser, groups = method_parser(__doc__, (CorrespondenceOptions,), READY)
    options, *named = checked_options(groups, parser.parse_args())
    if bool(options.ckpt) == bool(named):
        raise UsageError("give --ckpt, the checkpoint to evaluate, or --method")
    return options, named[0] if named else None


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


def print_results(results: Mapping[str, Any], folder: Path) -> None:
    print(f"\n{results['method']}, protocol {results['protocol']}, {results['pairs']} pairs")
    for title, name in (("mean of pairs", "pck"), ("of all places", "pck_over_points")):
        scores = "".join(f"  @{share} {results[name][str(share)]:5.1f}" for share in SHARES)
        print(f"  PCK {title:<14}{scores}")
    print(f"written to {folder}: results.json, items.jsonl, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
