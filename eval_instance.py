"""Evaluate a method on few-shot instance segmentation: AP of boxes and masks.

    python eval_instance.py --ckpt runs/sine/last.safetensors --datapath Datasets
    python eval_instance.py --method matcher --benchmark coco2voc --nshot 5 --datapath Datasets

Each class is shown by a few objects, and all its objects are looked for in every test image; the
numbers are means over the published draws of shown objects. A method that does not score objects
parts its masks, by its proposals or else into connected parts, which is a baseline. The command
again goes on where it was interrupted; torchrun spreads the images over processes and the numbers
stay the same. The output folder gets results.json, seed{n}/items.jsonl (what was found, as COCO's
results), contact_sheet.png and settings.json; it is refused where it holds results of other
settings.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from common.cli import checked_options, method_parser, option, run_script
from common.distributed import DEVICES, peak_memory, process_group
from common.errors import UsageError
from common.files import digest
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.trainer import PRECISIONS
from common.visualize import write_png
from data.few_shot_instances import NOVEL, FewShotInstances, InstanceDataOptions
from evaluation.exposure import Exposure
from evaluation.instance import InstanceFinder, find_all, score, summarise
from evaluation.instance_sheet import instance_sheet
from evaluation.item_log import ItemLog
from model.checkpoint import build_method, entry_of, frozen_fingerprint, load_method
from model.method_options import MethodOptions
from model.registry import READY


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    ckpt: Path | None = option(None, "checkpoint to evaluate; or give --method")
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    sheet_rows: int = option(8, "number of images shown on the contact sheet")
    nworker: int = option(2, "number of processes that read images; 0: none but this one")
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def folder(self, data: InstanceDataOptions, method: str) -> Path:
        """Where results go; by default beside the checkpoint, named after what is tested."""
        tested = self.ckpt.stem if self.ckpt else method
        name = f"eval_{tested}_{data.benchmark}_{data.nshot}shot"
        return self.output or (self.ckpt.parent if self.ckpt else Path("runs")) / name

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt and not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if self.sheet_rows < 0 or self.nworker < 0:
            found.append("--sheet_rows and --nworker cannot be negative")
        return found


def main() -> int:
    data, options, method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(options.device) as processes:
        if method_options:
            method, facts = build_method(method_options, processes.device, options.fetch)
        else:
            method, facts = load_method(options.ckpt, processes.device)
        method.refuse_shots(data.nshot)
        benchmark = FewShotInstances.open(data.benchmark, data.datapath, data.test_images)
        draws = [benchmark.shown(data.nshot, seed) for seed in range(data.seeds)]
        folder = options.folder(data, method.name)
        settings = {
            "benchmark": data.benchmark,
            "shots": data.nshot,
            "truth": benchmark.fingerprint(),
            "weights": digest(options.ckpt) if options.ckpt else facts["model"],
            "frozen": frozen_fingerprint(method),
            "precision": options.precision,
        }
        if processes.is_main:
            claim_folder(folder, {**settings, "data": str(data.datapath.resolve())})
        exposure = Exposure.of(facts, {one.class_id: one.class_id for one in NOVEL})
        scores = []
        for seed, shown in enumerate(draws):
            place = folder / f"seed{seed}"
            if processes.is_main:
                claim_folder(place, {"shown": [[o.object_id for o in some] for some in shown]})
            learn = partial(
                InstanceFinder.learn, method, benchmark, shown, options.precision, processes.device
            )
            records = find_all(
                *(learn, benchmark.pictures, ItemLog(place, processes.rank), processes),
                *(options.nworker, f"draw {seed + 1} of {data.seeds}"),
            )
            if processes.is_main:
                scores.append({"seed": seed, **score(benchmark, records)})
            if processes.is_main and seed == 0:
                heading = f"{data.benchmark}, {data.nshot}-shot, draw 1, {exposure}"
                sheet = instance_sheet(benchmark, records, options.sheet_rows, heading)
                if sheet is not None:
                    write_png(folder / "contact_sheet.png", sheet)
        if processes.is_main:
            results = {
                **summarise(scores),
                "draws": scores,
                "images": len(benchmark.pictures),
                **settings,
                **exposure.results(facts, {one.class_id: one.name for one in NOVEL}),
                "method": entry_of(facts, options.ckpt).title,
                "objects": "scored" if method.scores_instances else "parted masks",
                "checkpoint": options.ckpt and str(options.ckpt),
                "checkpoint_version": facts["version"],
                "cost": {
                    "seconds_per_image": mean(draw["seconds_per_image"] for draw in scores),
                    "peak_memory_gib": round(peak_memory(processes.device) / 2**30, 3),
                },
                "seconds": round(time.time() - start, 1),
            }
            write_json(folder / "results.json", results)
            print_results(results, exposure, folder)
    return 0


def parse_options() -> tuple[InstanceDataOptions, EvaluationOptions, MethodOptions | None]:
    parser, groups = method_parser(__doc__, (InstanceDataOptions, EvaluationOptions), READY)
    data, options, *named = checked_options(groups, parser.parse_args())
    if bool(options.ckpt) == bool(named):
        raise UsageError("give --ckpt, the checkpoint to evaluate, or --method")
    return data, options, named[0] if named else None


def print_results(results: dict[str, Any], exposure: Exposure, folder: Path) -> None:
    count = len(results["draws"])
    tested = f"{results['benchmark']}, {results['shots']}-shot, {exposure}"
    print(f"\n{results['method']} ({results['objects']}), {tested}")
    print(f"  mean of {count} draws{'AP':>12}{'':8}{'AP50':>6}{'AP75':>8}")
    for kind in ("box", "mask"):
        row = results[kind]
        spread = row["deviation"]["ap"]
        around = f"± {spread:.1f}" if spread is not None else ""
        print(f"  {kind:<20}{row['ap']:12.1f} {around:<7}{row['ap50']:6.1f}{row['ap75']:8.1f}")
    print(f"written to {folder}: results.json, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
