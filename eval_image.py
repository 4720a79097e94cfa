"""Evaluate a method on few-shot segmentation: mIoU and FB-IoU on a fold's tested classes.

    python eval_image.py --ckpt runs/image/last.safetensors --datapath Datasets
    python eval_image.py --method insid3 --benchmark coco --fold 0 --datapath Datasets

The checkpoint's header says which method it is and which classes were kept for testing; --method
takes one with public weights, with its own flags (--method NAME --help). Results say whether the
tested classes were seen in training. torchrun spreads the episodes over processes and the numbers
stay the same. The output folder gets results.json, episodes.jsonl, items.jsonl with the areas of
each episode, contact_sheet.png, the masks shown there and settings.json; it is refused where it
holds results of other settings.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import answer_early, option, run_script
from common.errors import UsageError
from common.kinds import REFERENCE_KINDS
from data.classes import FOLDS_OF
from evaluation.episodes import TestedData
from evaluation.protocol import protocol_names
from evaluation.subject_options import SubjectOptions, parse_subject
from model.method_options import MethodOptions


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    protocol: str | None = option(
        None,
        "named way of testing a benchmark, see docs/benchmarks.md (default: the benchmark's own)",
        protocol_names(),
    )
    test_episodes: int | None = option(None, "number of episodes (default: the protocol's)")
    episodes: Path | None = option(
        None,
        "file of episodes, of this program or a published list (docs/benchmarks.md): it is read if "
        "it exists, else it is written",
    )
    baselines: bool = option(False, "also score what needs no training, on the same episodes")
    reference_kind: str = option(
        "mask",
        "what marks the object in references: its mask, or what is drawn from it",
        tuple(REFERENCE_KINDS),
    )
    no_names: bool = option(
        False, "do not tell the method what the classes are called, even if it reads text"
    )
    seed: int = option(0, "seed with which episodes and marks are drawn")
    nworker: int = option(2, "number of processes that read episodes; 0: none but this one")
    skip_bad: bool = option(
        False, "go on where a file cannot be read: name it, and leave its episode out"
    )

    def test(self, data: TestedData) -> str:
        """What a folder of results is called after, beside the method."""
        one_fold = data.benchmark == "coco_all" or len(FOLDS_OF[data.benchmark]) == 1
        fold = "" if one_fold else f"_fold{data.fold}"
        marks = "" if self.reference_kind == "mask" else f"_{self.reference_kind}"
        marks += "_no_names" if self.no_names else ""
        benchmark = self.protocol or data.benchmark
        return f"{benchmark}{fold}_{data.nshot}shot{marks}"

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.baselines and self.reference_kind != "mask":
            found.append(f"--baselines need masks, not --reference_kind {self.reference_kind}")
        if self.baselines and self.skip_bad:
            found.append("--baselines need every file: leave out --skip_bad")
        if self.test_episodes is not None and self.test_episodes < 1:
            found.append("--test_episodes must be at least 1")
        if min(self.nworker, self.seed) < 0:
            found.append("--nworker and --seed cannot be negative")
        return found


def parse_options() -> tuple[list[Any], MethodOptions | None]:
    (data, options, about), method_options = parse_subject(
        __doc__, (TestedData, EvaluationOptions, SubjectOptions)
    )
    if about.sheet_rows < 1:
        raise UsageError("--sheet_rows must be at least 1")
    return [data, options, about], method_options


answer_early(__name__, parse_options)

import time
from dataclasses import replace

import numpy as np

from common.distributed import Processes, peak_memory, process_group
from common.geometry import Geometry
from common.kinds import kinds_of
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.visualize import write_png
from data.benchmarks import Split, open_benchmark, open_tested
from data.classes import BENCHMARKS, in_voc_words
from data.episode import EpisodeDataset
from data.marking import Marking
from data.sampler import count_queries
from evaluation.baselines import score_baselines
from evaluation.contact_sheet import episode_sheet
from evaluation.episodes import TestedEpisodes
from evaluation.exposure import Exposure
from evaluation.image import MethodSegmenter, evaluate
from evaluation.item_log import ItemLog
from evaluation.protocol import Followed, Protocol, values_of
from evaluation.scoring_size import ORIGINAL, ScoringSize
from evaluation.subject import Subject
from model.method import Method

THRESHOLD_EPISODES = 200


def main() -> int:
    (data, options, about), method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(about.device) as processes:
        subject = Subject.load(about, method_options, processes.device, processes.is_main)
        model, facts = subject.method, subject.facts
        if options.protocol and data.benchmark is None:
            data = replace(data, benchmark=Protocol.named(options.protocol, None).benchmark)
        data = data.completed(facts, about.ckpt or subject.title)
        protocol = Protocol.named(options.protocol, data.benchmark)
        size = ScoringSize(protocol.size)
        refuse_what_it_cannot(model, data, options)
        folder = about.folder(model.name, options.test(data))
        split = open_split(data, protocol, processes)
        meant = protocol.count(len(split.class_lists), count_queries(split, data.nshot))
        tested = tested_episodes(data, options, split, meant)
        settings = {
            **tested.facts,
            "protocol": protocol.name,
            "reference_kind": options.reference_kind,
            **({"names": False} if options.no_names else {}),
            **subject.settings,
        }
        if processes.is_main:
            place = str(data.datapath.resolve())
            claim_folder(folder, {**settings, "data": place, "baselines": options.baselines})
            new = options.episodes and not options.episodes.exists()
            tested.write(options.episodes if new else folder / "episodes.jsonl")
            for line in tested.remarks:
                print(line)
        episodes = EpisodeDataset(
            split,
            tested.keys,
            model.geometry,
            keep_original=True,
            marking=Marking.of_references(options.reference_kind, model.box_rule, options.seed),
        )
        segmenter = MethodSegmenter(model, about.precision, names=not options.no_names)
        unreadable: list[str] = []
        tell = unreadable.extend if options.skip_bad else None
        scores = evaluate(segmenter, episodes, processes, options.nworker, size=size, tell=tell)
        left_out = [one for some in processes.gather(unreadable) for one in some]
        if data.benchmark in BENCHMARKS:
            exposure = Exposure.of_fold(facts, data.benchmark, data.fold)
        else:
            exposure = Exposure.of_names(facts, split.class_names, data.benchmark, data.fold)
        found = {
            "sampler": (tested.header.sampler, protocol.sampler),
            "episodes": (len(tested.keys) - len(left_out), meant),
            **values_of(options, "reference_kind", "no_names"),
            **values_of(data, "lists"),
            "seed": (tested.header.seed, None),
        }
        followed = Followed(protocol, protocol.changes(found))
        class_names = split.class_names
        results = {
            **scores.results(class_names),
            **exposure.results(facts, class_names),
            **settings,
            **followed.results(exposure),
            **subject.results,
            **({"left_out": left_out} if left_out else {}),
            "cost": {
                "seconds_per_episode": scores.seconds_per_episode,
                "peak_memory_gib": round(peak_memory(processes.device) / 2**30, 3),
            },
        }
        if options.baselines:
            training = threshold_episodes(data, options.seed, model.geometry, processes)
            results["baselines"] = score_baselines(
                model.image_features, training, episodes, processes, options.nworker
            )
        results["seconds"] = round(time.time() - start, 1)
        if processes.is_main:
            results["intervals"] = scores.intervals(tested.keys)
            ItemLog(folder).write(scores.records(tested.keys))
            heading = f"{followed}, fold {data.fold}, {data.nshot}-shot, {exposure}"
            rows = scores.scored[: about.sheet_rows]
            sheet, masks = episode_sheet(segmenter, episodes, rows, processes, heading)
            write_png(folder / "contact_sheet.png", sheet)
            for number, mask in enumerate(masks):
                write_png(folder / "masks" / f"{number:04d}.png", mask.astype(np.uint8) * 255)
            write_json(folder / "results.json", results)
            print_results(results, followed, folder)
    return 0


def refuse_what_it_cannot(model: Method, data: TestedData, options: EvaluationOptions) -> None:
    """Check before work begins.

    Raises:
        UsageError: the flags ask for what the method cannot do.
    """
    model.refuse_shots(data.nshot)
    model.refuse_kinds(kinds_of(REFERENCE_KINDS[options.reference_kind]))
    if options.baselines and data.benchmark not in BENCHMARKS:
        raise UsageError(f"--baselines: {data.benchmark} has no training images to choose by")
    if options.baselines and model.image_features is None:
        raise UsageError(f"--baselines: {model.name} has no backbone for them to work on")


def open_split(data: TestedData, protocol: Protocol, processes: Processes) -> Split:
    """What is tested on, as the protocol has it."""
    drawn = replace(data, sampler=data.sampler or protocol.sampler)
    split = open_tested(drawn, processes, protocol.reader_options(data.nshot))
    if protocol.voc_words:
        split.class_names = in_voc_words(split.class_names)
    return split


def tested_episodes(
    data: TestedData, options: EvaluationOptions, split: Split, meant: int
) -> TestedEpisodes:
    """The episodes of the file that is named, or drawn ones.

    Args:
        meant: how many the protocol has.
    """
    if options.episodes and options.episodes.is_file():
        given = (options.episodes, data, split, options.seed, options.test_episodes)
        return TestedEpisodes.read(*given)
    return TestedEpisodes.draw(split, data.nshot, options.seed, options.test_episodes or meant)


def threshold_episodes(
    data: TestedData, seed: int, geometry: Geometry, processes: Processes
) -> EpisodeDataset:
    """Training episodes on which the prior-mask baseline's threshold is chosen."""
    split = open_benchmark(data, processes, lambda benchmark: [benchmark.training]).training
    chosen = TestedEpisodes.draw(split, data.nshot, seed, THRESHOLD_EPISODES)
    return EpisodeDataset(split, chosen.keys, geometry)


def print_results(results: dict[str, Any], followed: Followed, folder: Path) -> None:
    shots, tested = f"{results['shots']}-shot", f"{results['episodes']} episodes"
    print(f"\n{results['method']}, {shots}: {followed}, {tested}, {results['exposure']}")
    for line in results.get("left_out", ()):
        print(f"left out: {line}")
    print(f"{'':26}{'mIoU':>6}{'FB-IoU':>9}")
    sizes = {
        results["protocol_size"]: ("protocol_miou", "protocol_fb_iou"),
        "the method's size": ("miou", "fb_iou"),
        ORIGINAL: ("miou_original_size", "fb_iou_original_size"),
    }
    for size, (miou, fb_iou) in sizes.items():
        print(f"  {size:<24}{results[miou]:6.1f}{results[fb_iou]:9.1f}")
    for name, miou in results.get("baselines", {}).items():
        print(f"  {name:<24}{miou:6.1f}  at the method's size")
    if seconds := results["cost"]["seconds_per_episode"]:
        print(f"{seconds:.2f} s an episode, {results['cost']['peak_memory_gib']:.1f} GiB at most")
    if results["classes_without_episodes"]:
        print("without episodes:", ", ".join(results["classes_without_episodes"]))
    print(f"written to {folder}: results.json, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
