"""Evaluate DC-SAM on few-shot segmentation: mIoU and FB-IoU on classes it never saw.

    python eval_image.py --ckpt runs/image/last.safetensors --datapath Datasets --fold 0

The configuration comes from the checkpoint; torchrun spreads the episodes over processes and the
numbers stay the same. The output folder gets results.json, episodes.jsonl and contact_sheet.png.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from common.cli import checked_options, option, run_script, script_parser
from common.distributed import DEVICES, Processes, process_group
from common.logger import quiet_libraries, write_json
from common.trainer import PRECISIONS, autocast
from common.visualize import write_png
from data.benchmarks import Benchmark, open_benchmark
from data.episode import Episode, EpisodeDataset, EpisodeKey
from data.options import DataOptions
from data.sampler import EpisodeSampler, episode_hash, read_header, read_keys, write_keys
from evaluation import baselines
from evaluation.contact_sheet import episode_sheet
from evaluation.image import batches, evaluate
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

    @property
    def folder(self) -> Path:
        return self.output or self.ckpt.parent / f"eval_{self.ckpt.stem}"

    @property
    def episodes_file(self) -> Path:
        return self.episodes or self.folder / "episodes.jsonl"

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
        benchmark = open_benchmark(
            data, processes, lambda b: [b.validation, *([b.training] if options.baselines else [])]
        )
        keys = choose_episodes(benchmark, data, options, processes)
        episodes = EpisodeDataset(
            benchmark.validation, keys, facts["model"]["image_size"], keep_original=True
        )

        def segment(batch: Episode) -> Tensor:
            with autocast(processes.device, options.precision):
                return model(batch.query_image, batch.support_images, batch.support_masks).logits

        scores = evaluate(segment, episodes, Episode.join, processes, options.nworker)
        results = {
            **scores.results(benchmark.validation.class_names),
            "benchmark": data.benchmark,
            "fold": data.fold,
            "shots": data.nshot,
            "episode_hash": episode_hash(keys),
            "checkpoint": str(options.ckpt),
            "checkpoint_version": facts["version"],
        }
        if options.baselines:
            results["baselines"] = score_baselines(
                model, benchmark, episodes, data, options, processes
            )
        results["seconds"] = round(time.time() - start, 1)
        if processes.is_main:
            header = read_header(options.episodes_file)
            results |= {"seed": header.seed, "sampler": header.sampler}
            title = f"{data.benchmark} fold {data.fold}, {data.nshot}-shot, unseen classes"
            sheet = episode_sheet(segment, episodes, range(options.sheet_rows), processes, title)
            write_png(options.folder / "contact_sheet.png", sheet)
            write_json(options.folder / "results.json", results)
            print_results(results, options.folder)
    return 0


def parse_options() -> tuple[DataOptions, EvaluationOptions]:
    groups = (DataOptions, EvaluationOptions)
    return checked_options(groups, script_parser(__doc__, groups).parse_args())


def choose_episodes(
    benchmark: Benchmark, data: DataOptions, options: EvaluationOptions, processes: Processes
) -> list[EpisodeKey]:
    """Read the episodes from the file, or draw them and write them down."""
    if options.episodes and options.episodes.is_file():
        return read_keys(
            options.episodes,
            benchmark=data.benchmark,
            fold=data.fold,
            shots=data.nshot,
            sampler=data.sampler,
        )
    sampler = EpisodeSampler(benchmark.validation, data.nshot, options.seed, leave_out_rare=True)
    keys = sampler.evaluation_keys(options.test_episodes)
    if processes.is_main:
        write_keys(
            options.episodes_file,
            keys,
            benchmark=data.benchmark,
            fold=data.fold,
            seed=options.seed,
            sampler=sampler.split.sampler,
        )
        for class_id, count in sampler.left_out.items():
            name = benchmark.validation.class_names[class_id]
            print(f"left out: class {name} has {count} images, too few for an episode")
    processes.wait()
    return keys


def score_baselines(
    model: DcSam,
    benchmark: Benchmark,
    episodes: EpisodeDataset,
    data: DataOptions,
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
    title = "threshold of the prior mask"
    threshold = baselines.best_prior_threshold(
        model.backbone,
        (batch for _, batch in batches(training, Episode.join, options.nworker, alone, title)),
    )
    methods: dict[str, Callable[[Any], Tensor]] = {
        "everything": baselines.everything,
        "colour histogram": baselines.colour_histogram,
        "nearest prototype": baselines.nearest_prototype(model.backbone),
        "prior mask": baselines.prior_threshold(model.backbone, threshold),
    }
    if processes.is_main:
        print(f"prior mask: best threshold on training episodes {threshold:g}")
    return {
        name: evaluate(
            method, episodes, Episode.join, processes, options.nworker, name
        ).squashed.miou()
        for name, method in methods.items()
    }


def print_results(results: dict[str, Any], folder: Path) -> None:
    lines = [(f"DC-SAM, {results['shots']}-shot", results["miou"])]
    lines += list(results.get("baselines", {}).items())
    print(f"\nmIoU on {results['episodes']} episodes of unseen classes")
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
