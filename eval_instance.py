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

from dataclasses import dataclass
from typing import Any

from common.cli import answer_early, run_script
from data.few_shot_instances import InstanceDataOptions
from evaluation.protocol import protocol_option
from evaluation.subject_options import SubjectOptions, parse_subject
from model.method_options import MethodOptions

SCRIPT = "eval_instance.py"


@dataclass(frozen=True)
class TestOptions:
    """How it is tested."""

    protocol: str | None = protocol_option(SCRIPT)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        return []


def parse_options() -> tuple[list[Any], MethodOptions | None]:
    groups = (InstanceDataOptions, TestOptions, SubjectOptions)
    (data, test, about), method_options = parse_subject(__doc__, groups, SCRIPT)
    return [data, test, about], method_options


answer_early(__name__, parse_options)

import time
from functools import partial
from pathlib import Path
from statistics import mean

from common.distributed import peak_memory, process_group
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.visualize import write_png
from data.few_shot_instances import NOVEL, FewShotInstances
from evaluation.exposure import Exposure
from evaluation.instance import InstanceFinder, find_all, score, summarise
from evaluation.instance_sheet import instance_sheet
from evaluation.item_log import ItemLog
from evaluation.protocol import Followed, Protocol, values_of
from evaluation.subject import Subject


def main() -> int:
    (data, test, about), method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(about.device) as processes:
        subject = Subject.load(about, method_options, processes.device, processes.is_main)
        method, facts = subject.method, subject.facts
        method.refuse_shots(data.nshot)
        benchmark = FewShotInstances.open(data.benchmark, data.datapath, data.test_images)
        draws = [benchmark.shown(data.nshot, seed) for seed in range(data.seeds)]
        folder = about.folder(method.name, f"{data.benchmark}_{data.nshot}shot")
        settings = {
            "benchmark": data.benchmark,
            "shots": data.nshot,
            "truth": benchmark.fingerprint(),
            **subject.settings,
        }
        if processes.is_main:
            claim_folder(folder, {**settings, "data": str(data.datapath.resolve())})
        exposure = Exposure.of(facts, {one.class_id: one.class_id for one in NOVEL})
        found = values_of(data, "seeds", "test_images")
        followed = Protocol.followed(SCRIPT, data.benchmark, found, test.protocol)
        scores = []
        for seed, shown in enumerate(draws):
            place = folder / f"seed{seed}"
            if processes.is_main:
                claim_folder(place, {"shown": [[o.object_id for o in some] for some in shown]})
            learn = partial(
                InstanceFinder.learn, method, benchmark, shown, about.precision, processes.device
            )
            records = find_all(
                *(learn, benchmark.pictures, ItemLog(place, processes.rank), processes),
                *(data.nworker, f"draw {seed + 1} of {data.seeds}"),
            )
            if processes.is_main:
                scores.append({"seed": seed, **score(benchmark, records)})
            if processes.is_main and seed == 0:
                heading = f"{followed}, {data.nshot}-shot, draw 1, {exposure}"
                sheet = instance_sheet(benchmark, records, about.sheet_rows, heading)
                if sheet is not None:
                    write_png(folder / "contact_sheet.png", sheet)
        if processes.is_main:
            results = {
                **summarise(scores),
                "draws": scores,
                "images": len(benchmark.pictures),
                **settings,
                **followed.results(exposure),
                **exposure.results(facts, {one.class_id: one.name for one in NOVEL}),
                **subject.results,
                "objects": "scored" if method.scores_instances else "parted masks",
                "cost": {
                    "seconds_per_image": mean(draw["seconds_per_image"] for draw in scores),
                    "peak_memory_gib": round(peak_memory(processes.device) / 2**30, 3),
                },
                "seconds": round(time.time() - start, 1),
            }
            write_json(folder / "results.json", results)
            print_results(results, followed, folder)
    return 0


def print_results(results: dict[str, Any], followed: Followed, folder: Path) -> None:
    count = len(results["draws"])
    tested = f"{followed}, {results['shots']}-shot, {results['exposure']}"
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
