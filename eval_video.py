"""Evaluate on videos: J, F and J&F of a method or of SAM 2 on IC-VOS, or where masks are given.

    python eval_video.py --ckpt runs/tubes/last.safetensors --icvos_path Datasets/IC-VOS
    python eval_video.py --method insid3 --sam2_cfg sam2.1_hiera_l --icvos_path Datasets/IC-VOS
    python eval_video.py --ckpt runs/tubes/last.safetensors --first_frame oracle
    python eval_video.py --sam2_cfg sam2.1_hiera_l --first_frame FOLDER
    python eval_video.py --benchmark davis --sam2_cfg sam2.1_hiera_l
    python eval_video.py --benchmark ytvos18 --method sansa --save_masks

On IC-VOS a labelled image of COCO says what to segment, or masks of the first frame are given: the
true ones, or those of any other method in a folder. --method takes a method with public weights;
with --sam2_cfg it segments the first frame, and that SAM 2 carries its masks on, which a method
without a memory needs. On DAVIS (2017, or davis16), LVOS, MOSE and YouTube-VOS the masks of objects
are given where they appear: to a method that takes them, or to the SAM 2 of --sam2_cfg alone. The
output folder gets results.json, contact_sheet.png, and items.jsonl with a line for each finished
item: the same command goes on after an interruption.
torchrun spreads the videos over processes and the numbers stay the same.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, method_parser, option, run_script
from common.distributed import DEVICES
from common.errors import UsageError
from data.video_benchmarks import VideoDataOptions
from evaluation.protocol import protocol_flags, protocol_option
from evaluation.video_options import FrameOptions, VideoMethodOptions
from model.method_options import MethodOptions
from model.registry import READY

SCRIPT = "eval_video.py"
HINT = "--save_masks writes what a server takes"


@dataclass(frozen=True)
class OutputOptions:
    """Where results go, and which."""

    protocol: str | None = protocol_option(SCRIPT)
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    save_masks: bool = option(
        False, "write the masks, in the layout that the benchmark's server takes"
    )
    save_overlays: bool = option(False, "write an MP4 of each item with its masks")
    sheet_rows: int = option(8, "number of items shown on the contact sheet")
    device: str = option("auto", "device to compute on", DEVICES)

    def folder(
        self, data: VideoDataOptions, tested: VideoMethodOptions, method: str | None
    ) -> Path:
        """Where results go; by default beside the checkpoint, named after what is tested."""
        name = data.benchmark
        if data.given_folder:
            name += f"_{data.given_folder.name}"
        elif name == "icvos" and data.given:
            name += "_oracle"
        ckpt = tested.ckpt
        beside = ckpt and ckpt.parent / f"eval_{ckpt.stem}_{name}"
        return self.output or beside or Path("runs") / f"eval_{method or tested.variant}_{name}"

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        return ["--sheet_rows cannot be negative"] if self.sheet_rows < 0 else []


def parse_options() -> tuple[
    VideoDataOptions, VideoMethodOptions, OutputOptions, FrameOptions, MethodOptions | None
]:
    groups = (VideoDataOptions, VideoMethodOptions, OutputOptions)
    parser, groups = method_parser(
        *(__doc__, groups, READY), otherwise=(FrameOptions,), protocols=protocol_flags(SCRIPT)
    )
    namespace = parser.parse_args()
    data, tested, options, last = checked_options(groups, namespace)
    method = namespace.method
    if method:  # a method of few layers hands its masks to a SAM 2 of few layers
        frames, method_options = FrameOptions(shrunk=getattr(last, "shrunk", False)), last
    else:
        frames, method_options = last, None
    if frames.shrunk and tested.sam2_checkpoint:
        raise UsageError("--shrunk leaves no use for --sam2_checkpoint")
    if tested.ckpt and method:
        raise UsageError("give --ckpt or --method, not both")
    if not (tested.ckpt or method or tested.sam2_cfg):
        raise UsageError("give --ckpt, --method, or --sam2_cfg for the original SAM 2")
    if not (tested.ckpt or method) and not data.given:
        raise UsageError(
            "the original SAM 2 takes no support: add --first_frame oracle, or a folder of masks"
        )
    if data.given and tested.prompt_every:
        raise UsageError("--prompt_every needs a support to prompt with, and masks are given here")
    return data, tested, options, frames, method_options


answer_early(__name__, parse_options)

import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from common.checkpoint import code_version
from common.distributed import Processes, process_group
from common.files import digest
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.visualize import write_png
from data.episode_files import episode_hash
from data.video_benchmarks import (
    ON_SERVER,
    VideoBenchmark,
    open_video_benchmark,
    write_supports,
)
from evaluation.exposure import Exposure
from evaluation.item_log import ItemLog
from evaluation.item_results import ResultFolder
from evaluation.protocol import Protocol
from evaluation.scoring_size import ORIGINAL
from evaluation.video import evaluate_items
from evaluation.video_method import VideoMethod, load_video_method
from evaluation.video_results import score_table, summarise, video_sheet
from model.checkpoint import fingerprint, frozen_fingerprint


def main() -> int:
    data, tested, options, frames, method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(options.device) as processes:
        method, facts = load_video_method(data, tested, frames, method_options, processes.device)
        benchmark = open_video_benchmark(data, processes)
        folder = ResultFolder(
            options.folder(data, tested, method_options and method_options.method),
            method.geometry,
            data.benchmark == "icvos",
            data.frames,
            options.save_masks,
            options.save_overlays,
        )
        log = ItemLog(folder.path, processes.rank)
        settings = settings_of(data, tested, options, method, facts) if processes.is_main else {}
        if processes.is_main:
            claim_folder(folder.path, settings)
            if data.split == ON_SERVER and not options.save_masks:
                print(f"the truth of {data.benchmark} lies on its server: {HINT}", file=sys.stderr)
        names = items_left(benchmark, log, processes)
        if processes.is_main:
            write_supports(benchmark, data, folder.path)
            for problem in benchmark.items.problems.values():
                print(f"error: {problem}", file=sys.stderr)
        shown = benchmark.items.names[: options.sheet_rows]
        videos = benchmark.items.by_video(names)
        mine = [videos[number] for number in processes.share(len(videos))]
        bar = tqdm(mine, data.benchmark, unit="video", disable=not processes.is_main)
        for names in bar:
            records = evaluate_items(names, benchmark, method, folder, shown)
            for record in records:
                if "error" in record:
                    bar.write(f"error: {record['item']}: {record['error']}", file=sys.stderr)
            log.append(records)
        processes.wait()
        failed = 0
        if processes.is_main:
            records = log.join()
            classes = benchmark.items.class_names
            exposure, classes = exposure_of(records, classes, facts)
            found = {**data.deciding, "size": (folder.compared_size, ORIGINAL)}
            followed = Protocol.followed(SCRIPT, data.benchmark, found, options.protocol)
            supports = [*benchmark.supports.values()]
            results = {
                **summarise(records, benchmark.items, folder),
                **settings,
                **followed.results(exposure),
                **exposure.results(facts, classes),
                "seed": benchmark.seed,
                "supports_sha256": episode_hash(supports) if supports else None,
                "checkpoint": str(tested.ckpt or tested.sam2_checkpoint or tested.variant),
                "model": facts.get("method"),
                "version": code_version(),
                "seconds": round(time.time() - start, 1),
            }
            title = f"{followed}, {exposure}"
            sheet = video_sheet(records, shown, folder, title)
            if sheet is not None:
                write_png(folder.path / "contact_sheet.png", sheet)
            write_json(folder.path / "results.json", results)
            print(f"\n{title}\n{score_table(results, folder)}")
            if results["items"] and results["jf"] is None:
                lead = f"the masks are in {folder.path / 'masks'}" if options.save_masks else HINT
                print(f"no frame could be scored: nothing says where the objects are; {lead}")
            failed = len(results["failed"])
            if failed:
                print(f"{failed} failed; the same command tries them again")
            print(f"written to {folder.path}: results.json, items.jsonl, contact_sheet.png")
        failed = processes.gather(failed)[0]
    return 1 if failed else 0


def exposure_of(
    records: Mapping[str, Any], classes: Mapping[int, str], facts: Mapping[str, Any]
) -> tuple[Exposure, Mapping[int, str]]:
    """Whether what is looked for was trained on, and what it is called.

    Args:
        records: of items whose objects may have categories (YouTube-VOS).
        classes: by COCO's ids, where the benchmark has such.
    """
    if classes:
        return Exposure.of(facts, {class_id: class_id for class_id in classes}), classes
    objects = [one for record in records.values() for one in record.get("objects", {}).values()]
    names = dict(enumerate(sorted({one["category"] for one in objects if "category" in one})))
    return (Exposure.of_names(facts, names) if names else Exposure.unnamed(facts)), names


def settings_of(
    data: VideoDataOptions,
    tested: VideoMethodOptions,
    options: OutputOptions,
    method: VideoMethod,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """What decides the results, but for the videos, supports and given masks themselves."""
    weights = tested.ckpt or tested.sam2_checkpoint
    return {
        "benchmark": data.benchmark,
        "data": str(data.root.resolve()),
        "split": data.split,
        "all_frames": data.all_frames,
        "first_objects": data.first_objects,
        "weights": digest(weights) if weights else tested.variant,
        "method": facts.get("model"),
        "sam2": tested.variant,
        "frozen": [
            *([frozen_fingerprint(method.method)] if method.method else []),
            *([fingerprint({"segmenter": method.segmenter})] if tested.variant else []),
        ],
        "first_frame": data.begins_with,
        "nshot": data.nshot,
        "reference_kind": data.reference_kind,
        "max_frames": data.frames,
        "void": data.void,
        "image_size": method.geometry.side,
        "wiring": tested.wiring,
        "prompt_every": tested.prompt_every,
        "precision": tested.precision,
        "save_masks": options.save_masks,
        "save_overlays": options.save_overlays,
    }


def items_left(benchmark: VideoBenchmark, log: ItemLog, processes: Processes) -> list[str]:
    """The items that are not finished; those that failed are tried again."""
    records = processes.gather(log.join() if processes.is_main else {})[0]
    done = {name: record for name, record in records.items() if "error" not in record}
    for name, record in done.items():
        changed = benchmark.changed(record)
        if changed:
            raise UsageError(
                f"{log.folder} holds results of other {changed} ({name}): choose another folder, "
                "or delete this one"
            )
    return [name for name in benchmark.items.names if name not in done]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
