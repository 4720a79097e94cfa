"""Evaluate a method on few-shot segmentation: mIoU and FB-IoU on a fold's tested classes.

    python eval_image.py --ckpt runs/image/last.safetensors --datapath Datasets

The checkpoint's header says which method it is and which classes were kept for testing; results say
whether the tested classes were seen in training. torchrun spreads the episodes over processes and
the numbers stay the same. The output folder gets results.json, episodes.jsonl, contact_sheet.png
and settings.json; it is refused where it holds results of other settings.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import checked_options, option, run_script, script_parser
from common.distributed import DEVICES, process_group
from common.errors import UsageError
from common.files import digest
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.trainer import PRECISIONS
from common.visualize import write_png
from data.benchmarks import open_benchmark
from data.episode import EpisodeDataset
from evaluation.baselines import score_baselines
from evaluation.contact_sheet import episode_sheet
from evaluation.episodes import TestedData, TestedEpisodes
from evaluation.exposure import Exposure
from evaluation.image import MethodSegmenter, evaluate
from model.checkpoint import entry_of, frozen_fingerprint, load_method
from model.method import Method

THRESHOLD_EPISODES = 200
"""Training episodes on which the threshold of the prior-mask baseline is chosen."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    ckpt: Path | None = option(None, "checkpoint to evaluate (required)")
    test_episodes: int = option(1000, "number of episodes; the paper's protocol has 1,000")
    episodes: Path | None = option(
        None, "file of episodes: it is read if it exists, else it is written"
    )
    baselines: bool = option(False, "also score what needs no training, on the same episodes")
    sheet_rows: int = option(8, "number of episodes shown on the contact sheet")
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    seed: int = option(0, "seed with which episodes are drawn")
    nworker: int = option(2, "number of processes that read episodes; 0: none but this one")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def folder(self, data: TestedData) -> Path:
        """Where results go; by default beside the checkpoint, named after what is tested."""
        fold = "" if data.benchmark == "coco_all" else f"_fold{data.fold}"
        name = f"eval_{self.ckpt.stem}_{data.benchmark}{fold}_{data.nshot}shot"
        return self.output or self.ckpt.parent / name

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt is None:
            found.append("--ckpt is required: the checkpoint to evaluate")
        elif not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if self.test_episodes < 1 or self.sheet_rows < 1:
            found.append("--test_episodes and --sheet_rows must be at least 1")
        if self.nworker < 0 or self.seed < 0:
            found.append("--nworker and --seed cannot be negative")
        return found


def main() -> int:
    data, options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(options.device) as processes:
        model, facts = load_method(options.ckpt, processes.device)
        data = data.completed(facts, options.ckpt)
        refuse_what_it_cannot(model, data, options)
        folder = options.folder(data)
        benchmark = open_benchmark(
            data, processes, lambda b: [b.validation, *([b.training] if options.baselines else [])]
        )
        if options.episodes and options.episodes.is_file():
            tested = TestedEpisodes.read(options.episodes, data)
        else:
            tested = TestedEpisodes.draw(
                benchmark.validation, data.nshot, options.seed, options.test_episodes
            )
        settings = {
            **tested.facts,
            "weights": digest(options.ckpt),
            "frozen": frozen_fingerprint(model),
            "precision": options.precision,
        }
        if processes.is_main:
            place = str(data.datapath.resolve())
            claim_folder(folder, {**settings, "data": place, "baselines": options.baselines})
            tested.write(options.episodes or folder / "episodes.jsonl")
            for line in tested.left_out:
                print(line)
        episodes = EpisodeDataset(
            benchmark.validation, tested.keys, model.geometry, keep_original=True
        )
        segmenter = MethodSegmenter(model, options.precision)
        scores = evaluate(segmenter, episodes, processes, options.nworker)
        exposure = Exposure.of_fold(facts, data.benchmark, data.fold)
        class_names = benchmark.validation.class_names
        results = {
            **scores.results(class_names),
            **exposure.results(facts, class_names),
            **settings,
            "method": entry_of(facts, options.ckpt).title,
            "checkpoint": str(options.ckpt),
            "checkpoint_version": facts["version"],
        }
        if options.baselines:
            chosen_on = TestedEpisodes.draw(
                benchmark.training, data.nshot, options.seed, THRESHOLD_EPISODES
            )
            training = EpisodeDataset(benchmark.training, chosen_on.keys, model.geometry)
            results["baselines"] = score_baselines(
                model.image_features, training, episodes, processes, options.nworker
            )
        results["seconds"] = round(time.time() - start, 1)
        if processes.is_main:
            title = f"{data.benchmark} fold {data.fold}, {data.nshot}-shot, {exposure}"
            sheet = episode_sheet(segmenter, episodes, range(options.sheet_rows), processes, title)
            write_png(folder / "contact_sheet.png", sheet)
            write_json(folder / "results.json", results)
            print_results(results, exposure, folder)
    return 0


def refuse_what_it_cannot(model: Method, data: TestedData, options: EvaluationOptions) -> None:
    """Check before work begins.

    Raises:
        UsageError: the flags ask for what the method cannot do.
    """
    model.refuse_shots(data.nshot)
    if options.baselines and model.image_features is None:
        raise UsageError(f"--baselines: {model.name} has no backbone for them to work on")


def parse_options() -> tuple[TestedData, EvaluationOptions]:
    groups = (TestedData, EvaluationOptions)
    return checked_options(groups, script_parser(__doc__, groups).parse_args())


def print_results(results: dict[str, Any], exposure: Exposure, folder: Path) -> None:
    lines = [(f"{results['method']}, {results['shots']}-shot", results["miou"])]
    lines += list(results.get("baselines", {}).items())
    print(f"\nmIoU on {results['episodes']} episodes, {exposure}")
    for name, miou in lines:
        print(f"  {name:<24}{miou:6.1f}")
    print(
        f"FB-IoU {results['fb_iou']:.1f}, mIoU at the images' own size "
        f"{results['miou_original_size']:.1f}"
    )
    if results["classes_without_episodes"]:
        print("without episodes:", ", ".join(results["classes_without_episodes"]))
    print(f"written to {folder}: results.json, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
