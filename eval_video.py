"""Evaluate on videos: J, F and J&F of a method on IC-VOS, of SAM 2 on DAVIS 2017 and LVOS v2.

    python eval_video.py --ckpt runs/tubes/last.safetensors --icvos_path Datasets/IC-VOS
    python eval_video.py --method insid3 --sam2_cfg sam2.1_hiera_l --icvos_path Datasets/IC-VOS
    python eval_video.py --ckpt runs/tubes/last.safetensors --first_frame oracle
    python eval_video.py --sam2_cfg sam2.1_hiera_l --first_frame FOLDER
    python eval_video.py --benchmark davis --sam2_cfg sam2.1_hiera_l

On IC-VOS a labelled image of COCO says what to segment, or masks of the first frame are given: the
true ones, or those of any other method in a folder. --method takes a method with public weights;
one that has no memory segments the first frame, and the SAM 2 of --sam2_cfg carries its masks on.
On DAVIS and LVOS the first masks are given; --sam2_cfg alone evaluates the original SAM 2. The
output folder gets results.json, contact_sheet.png, and items.jsonl with a line for each finished
item: the same command goes on after an interruption.
torchrun spreads the videos over processes and the numbers stay the same.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from common.checkpoint import code_version
from common.cli import checked_options, method_parser, option, run_script
from common.distributed import DEVICES, Processes, process_group
from common.errors import UsageError
from common.files import digest
from common.geometry import Geometry
from common.logger import quiet_libraries, write_json
from common.settings import claim_folder
from common.trainer import PRECISIONS
from common.visualize import write_png
from data.sampler import episode_hash
from data.video_benchmarks import (
    VideoBenchmark,
    VideoDataOptions,
    open_video_benchmark,
    write_supports,
)
from evaluation.exposure import Exposure
from evaluation.item_log import ItemLog
from evaluation.item_results import ResultFolder
from evaluation.video import VideoMethod, evaluate_items
from evaluation.video_results import score_table, summarise, video_sheet
from model.checkpoint import build_method, fingerprint, frozen_fingerprint, load_method
from model.method import Method, MethodOptions
from model.registry import READY
from model.sam.sam2 import Sam2
from model.sam.variants import SAM_MODELS, build_segmenter, segmenter_weights
from model.sam.video_predictor import PACKAGE_VIDEO, STREAMING, WIRINGS, VideoWiring


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    ckpt: Path | None = option(None, "checkpoint to evaluate")
    sam2_cfg: str | None = option(
        None,
        "variant of the original SAM 2, in place of a checkpoint, or to carry on the masks of a "
        "method that has no memory",
    )
    sam2_checkpoint: Path | None = option(
        None, "file of the original SAM 2 (default: the official one)"
    )
    wiring: str | None = option(
        None,
        "wiring with which frames are propagated (default: streaming; package for DAVIS and LVOS; "
        "release for a checkpoint of the released program)",
        tuple(WIRINGS),
    )
    prompt_every: int = option(
        0, "number of frames after which to prompt again; 0: only on the first"
    )
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    save_masks: bool = option(False, "write the masks, in the benchmark's layout")
    save_overlays: bool = option(False, "write an MP4 of each item with its masks")
    sheet_rows: int = option(8, "number of items shown on the contact sheet")
    fetch: bool = option(
        False, "fetch official weights that are missing; size and licence are told first"
    )
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    @property
    def variant(self) -> str | None:
        """The name of the original SAM 2, also where its configuration file was given."""
        return self.sam2_cfg and Path(self.sam2_cfg).name.removesuffix(".yaml")

    def folder(self, data: VideoDataOptions, method: str | None) -> Path:
        """Where results go; by default beside the checkpoint, named after what is tested."""
        name = data.benchmark
        if data.given_folder:
            name += f"_{data.given_folder.name}"
        elif name == "icvos" and data.given:
            name += "_oracle"
        beside = self.ckpt and self.ckpt.parent / f"eval_{self.ckpt.stem}_{name}"
        return self.output or beside or Path("runs") / f"eval_{method or self.variant}_{name}"

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.sam2_cfg and self.variant not in SAM_MODELS[2]:
            found.append(f"--sam2_cfg: there are {', '.join(SAM_MODELS[2])}, not {self.variant}")
        if self.sam2_checkpoint and not self.sam2_cfg:
            found.append("--sam2_checkpoint needs --sam2_cfg, the name of a variant")
        for flag, path in (("ckpt", self.ckpt), ("sam2_checkpoint", self.sam2_checkpoint)):
            if path and not path.is_file():
                found.append(f"--{flag}: no such file: {path}")
        if self.prompt_every < 0 or self.sheet_rows < 0:
            found.append("--prompt_every and --sheet_rows cannot be negative")
        return found


@dataclass(frozen=True)
class FrameOptions:
    """How frames come to a checkpoint or to SAM 2; other methods have flags of their own."""

    image_size: int | None = option(
        None, "side to which frames are squashed (default: the checkpoint's; SAM 2's for DAVIS)"
    )
    shrunk: bool = option(
        False, "the original SAM 2 with few layers and random weights, to try this in seconds"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 32):
            return [f"--image_size must be a multiple of 32, not {self.image_size}"]
        return []


def main() -> int:
    data, options, frames, method_options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(options.device) as processes:
        method, facts = load(data, options, frames, method_options, processes)
        benchmark = open_video_benchmark(data, processes)
        folder = ResultFolder(
            options.folder(data, method_options and method_options.method),
            method.geometry,
            data.benchmark == "icvos",
            data.frames,
            options.save_masks,
            options.save_overlays,
        )
        log = ItemLog(folder.path, processes.rank)
        settings = settings_of(data, options, method, facts) if processes.is_main else {}
        if processes.is_main:
            claim_folder(folder.path, settings)
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
            exposure = Exposure.of(facts, {class_id: class_id for class_id in classes})
            supports = [*benchmark.supports.values()]
            results = {
                **summarise(records, benchmark.items, folder),
                **settings,
                **(exposure.results(facts, classes) if classes else {}),
                "seed": benchmark.seed,
                "supports_sha256": episode_hash(supports) if supports else None,
                "checkpoint": str(options.ckpt or options.sam2_checkpoint or options.variant),
                "model": facts.get("method"),
                "version": code_version(),
                "seconds": round(time.time() - start, 1),
            }
            title = f"{data.benchmark}, {exposure}" if classes else data.benchmark
            sheet = video_sheet(records, shown, folder, title)
            if sheet is not None:
                write_png(folder.path / "contact_sheet.png", sheet)
            write_json(folder.path / "results.json", results)
            print(f"\n{title}\n{score_table(results, folder)}")
            failed = len(results["failed"])
            if failed:
                print(f"{failed} failed; the same command tries them again")
            print(f"written to {folder.path}: results.json, items.jsonl, contact_sheet.png")
        failed = processes.gather(failed)[0]
    return 1 if failed else 0


def parse_options() -> tuple[
    VideoDataOptions, EvaluationOptions, FrameOptions, MethodOptions | None
]:
    groups = (VideoDataOptions, EvaluationOptions)
    parser, groups = method_parser(__doc__, groups, READY, otherwise=(FrameOptions,))
    namespace = parser.parse_args()
    data, options, last = checked_options(groups, namespace)
    method = namespace.method
    frames, method_options = (FrameOptions(), last) if method else (last, None)
    if frames.shrunk and options.sam2_checkpoint:
        raise UsageError("--shrunk leaves no use for --sam2_checkpoint")
    if options.ckpt and method:
        raise UsageError("give --ckpt or --method, not both")
    if not (options.ckpt or method or options.sam2_cfg):
        raise UsageError("give --ckpt, --method, or --sam2_cfg for the original SAM 2")
    if not (options.ckpt or method) and not data.given:
        raise UsageError(
            "the original SAM 2 takes no support: add --first_frame oracle, or a folder of masks"
        )
    if data.given and options.prompt_every:
        raise UsageError("--prompt_every needs a support to prompt with, and masks are given here")
    return data, options, frames, method_options


def load(
    data: VideoDataOptions,
    options: EvaluationOptions,
    frames: FrameOptions,
    method_options: MethodOptions | None,
    processes: Processes,
) -> tuple[VideoMethod, dict[str, Any]]:
    """What segments the videos, and what the checkpoint's header says."""
    facts, method, carrier = {}, None, None
    if method_options:
        method, facts = build_method(method_options, processes.device, options.fetch)
    if options.ckpt:
        method, facts = load_method(options.ckpt, processes.device)
    if options.variant:
        if method and data.given:
            raise UsageError(
                f"masks are given, and --sam2_cfg carries them on: {method.name} has no part in it"
            )
        weights = options.sam2_checkpoint or segmenter_weights(2, options.variant)
        torch.manual_seed(0)  # random weights are the same in every process
        carrier = build_segmenter(
            2, options.variant, None if frames.shrunk else weights, frames.shrunk
        )
        carrier = carrier.eval().to(processes.device)
    elif data.given and not method.takes_given_masks:
        carrier = method.promptable
        if not isinstance(carrier, Sam2):
            raise UsageError(
                f"{method.name} takes no given masks: name a SAM 2 by --sam2_cfg alone"
            )
    elif not method.has_memory:
        raise UsageError(
            f"{method.name} has no memory: --sam2_cfg names the SAM 2 that carries its masks on"
        )
    if method:
        method.refuse_shots(data.nshot)
    loaded = VideoMethod(
        method,
        carrier,
        wiring=wiring_of(data, options, method, carrier),
        geometry=geometry_of(data, frames, method, carrier),
        prompt_every=options.prompt_every,
        precision=options.precision,
        device=processes.device,
    )
    return loaded, facts


def wiring_of(
    data: VideoDataOptions, options: EvaluationOptions, method: Method | None, carrier: Sam2 | None
) -> VideoWiring:
    """How frames are propagated by SAM 2."""
    if options.wiring:
        return WIRINGS[options.wiring]
    if method and not options.variant and method.video_wiring != STREAMING:
        return method.video_wiring
    return STREAMING if data.benchmark == "icvos" else PACKAGE_VIDEO


def geometry_of(
    data: VideoDataOptions, frames: FrameOptions, method: Method | None, carrier: Sam2 | None
) -> Geometry:
    """How frames come to the square."""
    if frames.image_size:
        return Geometry(frames.image_size)
    if data.given and carrier is None:
        return method.tracking_geometry
    if method and data.benchmark == "icvos":
        return method.geometry
    return Geometry(carrier.image_size)


def settings_of(
    data: VideoDataOptions,
    options: EvaluationOptions,
    method: VideoMethod,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """What decides the results, but for the videos, supports and given masks themselves."""
    weights = options.ckpt or options.sam2_checkpoint
    return {
        "benchmark": data.benchmark,
        "data": str(data.root.resolve()),
        "split": data.split,
        "weights": digest(weights) if weights else options.variant,
        "method": facts.get("model"),
        "frozen": [
            *([frozen_fingerprint(method.method)] if method.method else []),
            *([fingerprint({"segmenter": method.segmenter})] if options.variant else []),
        ],
        "first_frame": data.begins_with,
        "nshot": data.nshot,
        "max_frames": data.frames,
        "void": data.void,
        "image_size": method.geometry.side,
        "wiring": options.wiring,
        "prompt_every": options.prompt_every,
        "precision": options.precision,
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
