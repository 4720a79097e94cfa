"""Evaluate a method on few-shot segmentation: mIoU and FB-IoU on a fold's tested classes.

    python eval_image.py --ckpt runs/image/last.safetensors --datapath Datasets
    python eval_image.py --method insid3 --benchmark coco --fold 0 --datapath Datasets

The checkpoint's header says which method it is and which classes were kept for testing; --method
takes one with public weights, with its own flags (--method NAME --help). Results say whether the
tested classes were seen in training. torchrun spreads the episodes over processes and the numbers
stay the same. The output folder gets results.json, episodes.jsonl, contact_sheet.png, the masks
shown there and settings.json; it is refused where it holds results of other settings.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import checked_options, method_parser, option, run_script
from common.distributed import DEVICES, peak_memory, process_group
from common.errors import UsageError
from common.files import digest
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.trainer import PRECISIONS
from common.visualize import write_png
from data.benchmarks import open_benchmark, open_tested
from data.classes import BENCHMARKS, FOLDS_OF, in_voc_words
from data.episode import EpisodeDataset
from data.marking import PROMPTS, Marking, kinds_of
from evaluation.baselines import score_baselines
from evaluation.contact_sheet import episode_sheet
from evaluation.episodes import TestedData, TestedEpisodes
from evaluation.exposure import Exposure
from evaluation.image import MethodSegmenter, evaluate
from evaluation.protocol import Protocol, protocol_names
from model.checkpoint import build_method, entry_of, frozen_fingerprint, load_method
from model.method import Method
from model.method_options import MethodOptions
from model.registry import READY

THRESHOLD_EPISODES = 200
"""Training episodes on which the threshold of the prior-mask baseline is chosen."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    ckpt: Path | None = option(None, "checkpoint to evaluate; or give --method")
    protocol: str | None = option(
        None,
        "named way of testing a benchmark, see docs/benchmarks.md (default: the benchmark's own)",
        protocol_names(),
    )
    test_episodes: int | None = option(None, "number of episodes (default: the protocol's)")
    episodes: Path | None = option(
        None, "file of episodes: it is read if it exists, else it is written"
    )
    baselines: bool = option(False, "also score what needs no training, on the same episodes")
    sheet_rows: int = option(8, "number of episodes shown on the contact sheet")
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    prompt: str = option(
        "mask", "what marks the object in references: its mask, or what is drawn from it", PROMPTS
    )
    no_names: bool = option(
        False, "do not tell the method what the classes are called, even if it reads text"
    )
    seed: int = option(0, "seed with which episodes and marks are drawn")
    nworker: int = option(2, "number of processes that read episodes; 0: none but this one")
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def folder(self, data: TestedData, method: str) -> Path:
        """Where results go; by default beside the checkpoint, named after what is tested."""
        one_fold = data.benchmark == "coco_all" or len(FOLDS_OF[data.benchmark]) == 1
        fold = "" if one_fold else f"_fold{data.fold}"
        tested = self.ckpt.stem if self.ckpt else method
        marks = "" if self.prompt == "mask" else f"_{self.prompt}"
        marks += "_no_names" if self.no_names else ""
        benchmark = self.protocol or data.benchmark
        name = f"eval_{tested}_{benchmark}{fold}_{data.nshot}shot{marks}"
        return self.output or (self.ckpt.parent if self.ckpt else Path("runs")) / name

    def marking(self, method: Method) -> Marking | None:
        """How references are marked; None: by their masks."""
        if self.prompt == "mask":
            return None
        return Marking(self.prompt, method.box_rule, seed=self.seed)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.baselines and self.prompt != "mask":
            found.append(f"--baselines need masks, not --prompt {self.prompt}")
        if self.ckpt and not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if (self.test_episodes or 1) < 1 or self.sheet_rows < 1:
            found.append("--test_episodes and --sheet_rows must be at least 1")
        if self.nworker < 0 or self.seed < 0:
            found.append("--nworker and --seed cannot be negative")
        return found


def main() -> int:
    data, options, method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(options.device) as processes:
        if method_options:
            model, facts = build_method(method_options, processes.device, options.fetch)
        else:
            model, facts = load_method(options.ckpt, processes.device)
        title = entry_of(facts, options.ckpt).title
        if options.protocol and data.benchmark is None:
            data = replace(data, benchmark=Protocol.named(options.protocol, None).benchmark)
        data = data.completed(facts, options.ckpt or title)
        protocol = Protocol.named(options.protocol, data.benchmark)
        refuse_what_it_cannot(model, data, options)
        folder = options.folder(data, model.name)
        split = open_tested(
            replace(data, sampler=data.sampler or protocol.sampler),
            processes,
            protocol.reader_options(data.nshot),
        )
        if protocol.voc_words:
            split.class_names = in_voc_words(split.class_names)
        if options.episodes and options.episodes.is_file():
            tested = TestedEpisodes.read(options.episodes, data)
        else:
            count = options.test_episodes or protocol.episodes
            tested = TestedEpisodes.draw(split, data.nshot, options.seed, count)
        settings = {
            **tested.facts,
            "prompt": options.prompt,
            **({"names": False} if options.no_names else {}),
            "weights": digest(options.ckpt) if options.ckpt else facts["model"],
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
            split,
            tested.keys,
            model.geometry,
            keep_original=True,
            marking=options.marking(model),
        )
        segmenter = MethodSegmenter(model, options.precision, names=not options.no_names)
        scores = evaluate(segmenter, episodes, processes, options.nworker)
        if data.benchmark in BENCHMARKS:
            exposure = Exposure.of_fold(facts, data.benchmark, data.fold)
        else:
            exposure = Exposure.of_names(facts, split.class_names)
        class_names = split.class_names
        results = {
            **scores.results(class_names),
            **exposure.results(facts, class_names),
            **settings,
            **protocol.results(
                tested.header.sampler, len(tested.keys), sum(map(len, split.class_lists.values()))
            ),
            "method": title,
            "checkpoint": options.ckpt and str(options.ckpt),
            "cost": {
                "seconds_per_episode": scores.seconds_per_episode,
                "peak_memory_gib": round(peak_memory(processes.device) / 2**30, 3),
            },
            "checkpoint_version": facts["version"],
        }
        if options.baselines:
            chosen_from = open_benchmark(data, processes, lambda b: [b.training]).training
            chosen_on = TestedEpisodes.draw(
                chosen_from, data.nshot, options.seed, THRESHOLD_EPISODES
            )
            training = EpisodeDataset(chosen_from, chosen_on.keys, model.geometry)
            results["baselines"] = score_baselines(
                model.image_features, training, episodes, processes, options.nworker
            )
        results["seconds"] = round(time.time() - start, 1)
        if processes.is_main:
            heading = f"{protocol.name} fold {data.fold}, {data.nshot}-shot, {exposure}"
            rows = range(options.sheet_rows)
            sheet, masks = episode_sheet(segmenter, episodes, rows, processes, heading)
            write_png(folder / "contact_sheet.png", sheet)
            for number, mask in enumerate(masks):
                write_png(folder / "masks" / f"{number:04d}.png", mask.astype(np.uint8) * 255)
            write_json(folder / "results.json", results)
            print_results(results, exposure, folder)
    return 0


def refuse_what_it_cannot(model: Method, data: TestedData, options: EvaluationOptions) -> None:
    """Check before work begins.

    Raises:
        UsageError: the flags ask for what the method cannot do.
    """
    model.refuse_shots(data.nshot)
    model.refuse_kinds(kinds_of(options.prompt))
    if options.baselines and data.benchmark not in BENCHMARKS:
        raise UsageError(f"--baselines: {data.benchmark} has no training images to choose by")
    if options.baselines and model.image_features is None:
        raise UsageError(f"--baselines: {model.name} has no backbone for them to work on")


def parse_options() -> tuple[TestedData, EvaluationOptions, MethodOptions | None]:
    parser, groups = method_parser(__doc__, (TestedData, EvaluationOptions), READY)
    data, options, *named = checked_options(groups, parser.parse_args())
    if bool(options.ckpt) == bool(named):
        raise UsageError("give --ckpt, the checkpoint to evaluate, or --method")
    return data, options, named[0] if named else None


def print_results(results: dict[str, Any], exposure: Exposure, folder: Path) -> None:
    lines = [(f"{results['method']}, {results['shots']}-shot", results["miou"])]
    lines += list(results.get("baselines", {}).items())
    changed = "".join(f", {change}" for change in results["protocol_changes"])
    protocol = f"protocol {results['protocol']}{changed}"
    print(f"\nmIoU on {results['episodes']} episodes, {protocol}, {exposure}")
    for name, miou in lines:
        print(f"  {name:<24}{miou:6.1f}")
    print(
        f"FB-IoU {results['fb_iou']:.1f}, mIoU at the images' own size "
        f"{results['miou_original_size']:.1f}"
    )
    if seconds := results["cost"]["seconds_per_episode"]:
        print(f"{seconds:.2f} s an episode, {results['cost']['peak_memory_gib']:.1f} GiB at most")
    if results["classes_without_episodes"]:
        print("without episodes:", ", ".join(results["classes_without_episodes"]))
    print(f"written to {folder}: results.json, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
