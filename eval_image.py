"""Evaluate a method on few-shot segmentation: mIoU and FB-IoU on classes it never saw.

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
from common.distributed import DEVICES, Processes, process_group
from common.files import digest
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.trainer import PRECISIONS
from common.visualize import write_png
from data.benchmarks import Benchmark, Split, open_benchmark
from data.episode import EpisodeDataset, EpisodeKey
from data.sampler import EpisodeSampler, episode_hash, read_header, read_keys, write_keys
from evaluation.baselines import all_baselines, best_prior_threshold
from evaluation.contact_sheet import episode_sheet
from evaluation.exposure import Exposure, TestedData
from evaluation.image import MethodSegmenter, batches, evaluate
from model.checkpoint import load_model
from model.dc_sam.network import DcSam

THRESHOLD_EPISODES = 200
"""Training episodes on which the threshold of the prior-mask baseline is chosen."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    ckpt: Path | None = option(None, "checkpoint to evaluate (required)")
    test_episodes: int = option(1000, "how many episodes; the paper's protocol has 1,000")
    episodes: Path | None = option(None, "file of episodes: read if it exists, else written")
    baselines: bool = option(False, "also score what needs no training, on the same episodes")
    sheet_rows: int = option(8, "episodes shown on the contact sheet")
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    seed: int = option(0, "of the episodes")
    nworker: int = option(2, "processes that read episodes; 0: none but this one")
    device: str = option("auto", "where to compute", DEVICES)
    precision: str = option("fp32", "of the forward pass", tuple(PRECISIONS))

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
        model, facts = load_model(options.ckpt, processes.device)
        data = data.completed(facts, options.ckpt)
        folder = options.folder(data)
        benchmark = open_benchmark(
            data, processes, lambda b: [b.validation, *([b.training] if options.baselines else [])]
        )
        drawn = choose_episodes(benchmark.validation, data, options)
        settings = settings_of(drawn, data, options)
        if processes.is_main:
            claim_folder(folder, settings)
            write_episodes(drawn, options.episodes or folder / "episodes.jsonl", data)
        episodes = EpisodeDataset(
            benchmark.validation, drawn.keys, facts["model"]["image_size"], keep_original=True
        )
        segmenter = MethodSegmenter(model, options.precision)
        scores = evaluate(segmenter, episodes, processes, options.nworker)
        exposure = Exposure.of_fold(facts, data.benchmark, data.fold)
        class_names = benchmark.validation.class_names
        results = {
            **scores.results(class_names),
            **exposure.results(facts, class_names),
            "benchmark": data.benchmark,
            "fold": data.fold,
            "shots": data.nshot,
            "seed": drawn.seed,
            "sampler": drawn.sampler,
            "episode_hash": settings["episode_hash"],
            "checkpoint": str(options.ckpt),
            "checkpoint_version": facts["version"],
            "weights": settings["weights"],
        }
        if options.baselines:
            results["baselines"] = score_baselines(
                model, benchmark, episodes, data, options, processes
            )
        results["seconds"] = round(time.time() - start, 1)
        if processes.is_main:
            title = f"{data.benchmark} fold {data.fold}, {data.nshot}-shot, {exposure}"
            sheet = episode_sheet(segmenter, episodes, range(options.sheet_rows), processes, title)
            write_png(folder / "contact_sheet.png", sheet)
            write_json(folder / "results.json", results)
            print_results(results, exposure, folder)
    return 0


def parse_options() -> tuple[TestedData, EvaluationOptions]:
    groups = (TestedData, EvaluationOptions)
    return checked_options(groups, script_parser(__doc__, groups).parse_args())


@dataclass(frozen=True)
class DrawnEpisodes:
    """The episodes of an evaluation, and where they are from."""

    keys: list[EpisodeKey]
    seed: int
    sampler: str | None
    left_out: list[str]
    """What is said of classes with too few images."""
    from_file: bool = False


def choose_episodes(split: Split, data: TestedData, options: EvaluationOptions) -> DrawnEpisodes:
    """Read the episodes from the file, or draw them."""
    path = options.episodes
    if path and path.is_file():
        keys = read_keys(
            path,
            benchmark=data.benchmark,
            fold=data.fold,
            shots=data.nshot,
            sampler=data.sampler,
        )
        header = read_header(path)
        return DrawnEpisodes(keys, header.seed, header.sampler, [], from_file=True)
    sampler = EpisodeSampler(split, data.nshot, options.seed, leave_out_rare=True)
    left_out = [
        f"left out: class {split.class_names[class_id]} has {count} images, too few for an episode"
        for class_id, count in sampler.left_out.items()
    ]
    keys = sampler.evaluation_keys(options.test_episodes)
    return DrawnEpisodes(keys, options.seed, split.sampler, left_out)


def write_episodes(drawn: DrawnEpisodes, path: Path, data: TestedData) -> None:
    """Write drawn episodes down, and say which classes have none."""
    if not drawn.from_file:
        write_keys(
            path,
            drawn.keys,
            benchmark=data.benchmark,
            fold=data.fold,
            seed=drawn.seed,
            sampler=drawn.sampler,
        )
    for line in drawn.left_out:
        print(line)


def settings_of(
    drawn: DrawnEpisodes, data: TestedData, options: EvaluationOptions
) -> dict[str, Any]:
    """What decides the results."""
    return {
        "benchmark": data.benchmark,
        "data": str(data.datapath.resolve()),
        "fold": data.fold,
        "nshot": data.nshot,
        "weights": digest(options.ckpt),
        "episode_hash": episode_hash(drawn.keys),
        "seed": drawn.seed,
        "precision": options.precision,
        "baselines": options.baselines,
    }


def score_baselines(
    model: DcSam,
    benchmark: Benchmark,
    episodes: EpisodeDataset,
    data: TestedData,
    options: EvaluationOptions,
    processes: Processes,
) -> dict[str, float]:
    """The mIoU of every baseline on the same episodes."""
    sampler = EpisodeSampler(benchmark.training, data.nshot, options.seed, leave_out_rare=True)
    training = EpisodeDataset(
        sampler.split,
        sampler.evaluation_keys(THRESHOLD_EPISODES),
        episodes.image_size,
        keep_original=True,
    )
    alone = Processes(0, 1, processes.device)
    threshold = best_prior_threshold(
        model.backbone, batches(training, alone, options.nworker, "threshold of the prior mask")
    )
    if processes.is_main:
        print(f"prior mask: best threshold on training episodes {threshold:g}")
    return {
        name: evaluate(baseline, episodes, processes, options.nworker, name).squashed.miou()
        for name, baseline in all_baselines(model.backbone, threshold).items()
    }


def print_results(results: dict[str, Any], exposure: Exposure, folder: Path) -> None:
    lines = [(f"DC-SAM, {results['shots']}-shot", results["miou"])]
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
