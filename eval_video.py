"""Evaluate on videos: J, F and J&F of DC-SAM on IC-VOS, of SAM 2 on DAVIS 2017 and LVOS v2.

    python eval_video.py --ckpt runs/tubes/last.safetensors --icvos_path Datasets/IC-VOS
    python eval_video.py --benchmark davis --ckpt runs/tubes/last.safetensors
    python eval_video.py --benchmark davis --sam2_cfg sam2.1_hiera_l

On IC-VOS a labelled image of COCO says what to look for. On DAVIS and LVOS the first masks are
given; the last command evaluates the original SAM 2. The output folder gets results.json,
contact_sheet.png, and items.jsonl with a line for each finished item: the same command goes on
after an interruption. torchrun spreads the videos over processes and the numbers stay the same.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.checkpoint import code_version
from common.cli import checked_options, option, run_script, script_parser
from common.distributed import DEVICES, Processes, process_group
from common.errors import UsageError
from common.files import digest
from common.logger import quiet_libraries, write_json
from common.pixels import squash_image
from common.settings import claim_folder
from common.trainer import PRECISIONS, autocast
from common.visualize import write_png
from data.benchmarks import Split
from data.icvos import read_supports
from data.sampler import episode_hash
from evaluation.item_log import ItemLog, Record
from evaluation.item_results import ORIGINAL, ResultFolder, video_sheet
from evaluation.jf import PRESENT, Summary, mean_summary
from evaluation.video import Step, evaluate_items
from evaluation.video_benchmarks import (
    VideoBenchmark,
    VideoDataOptions,
    open_video_benchmark,
    write_supports,
)
from evaluation.video_items import ItemSource, VideoItem
from model.checkpoint import load_model
from model.dc_sam.config import SAM_MODELS, ModelOptions, build_model, frozen_fingerprint
from model.dc_sam.network import Concept
from model.dc_sam.video import PACKAGE_VIDEO, RELEASE_VIDEO, STREAMING, DcSamVideo, RunningVideo
from model.sam.following import GivenObjects, visible_logits

WIRINGS = {"streaming": STREAMING, "release": RELEASE_VIDEO, "package": PACKAGE_VIDEO}


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    ckpt: Path | None = option(None, "checkpoint to evaluate")
    sam2_cfg: str | None = option(None, "or the original SAM 2, where masks are given: its variant")
    sam2_checkpoint: Path | None = option(None, "its file (default: the official one in weights/)")
    image_size: int | None = option(
        None, "side to which frames are squashed (default: the checkpoint's; SAM 2's for DAVIS)"
    )
    wiring: str | None = option(
        None,
        "how frames are followed (default: streaming; package for DAVIS and LVOS; release for a "
        "checkpoint of the released program)",
        tuple(WIRINGS),
    )
    prompt_every: int = option(0, "prompt again every so many frames; 0: only on the first")
    output: Path | None = option(None, "folder for the results (default: beside the checkpoint)")
    save_masks: bool = option(False, "write the masks, in the benchmark's layout")
    save_overlays: bool = option(False, "write an MP4 of each item with its masks")
    sheet_rows: int = option(8, "items shown on the contact sheet")
    device: str = option("auto", "where to compute", DEVICES)
    precision: str = option("fp32", "of the forward pass", tuple(PRECISIONS))

    @property
    def variant(self) -> str | None:
        """The name of the original SAM 2, also where its configuration file was given."""
        return self.sam2_cfg and Path(self.sam2_cfg).name.removesuffix(".yaml")

    def folder(self, data: VideoDataOptions) -> Path:
        name = data.benchmark
        if name == "icvos" and data.given:
            name += "_oracle"
        beside = self.ckpt and self.ckpt.parent / f"eval_{self.ckpt.stem}_{name}"
        return self.output or beside or Path("runs") / f"eval_{self.variant}_{name}"

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if (self.ckpt is None) == (self.sam2_cfg is None):
            found.append("give --ckpt, or --sam2_cfg for the original SAM 2")
        if self.sam2_cfg and self.variant not in SAM_MODELS[2]:
            found.append(f"--sam2_cfg: there are {', '.join(SAM_MODELS[2])}, not {self.variant}")
        if self.sam2_checkpoint and not self.sam2_cfg:
            found.append("--sam2_checkpoint needs --sam2_cfg, the name of its variant")
        for flag, path in (("ckpt", self.ckpt), ("sam2_checkpoint", self.sam2_checkpoint)):
            if path and not path.is_file():
                found.append(f"--{flag}: no such file: {path}")
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 32):
            found.append(f"--image_size must be a multiple of 32, not {self.image_size}")
        if self.prompt_every < 0 or self.sheet_rows < 0:
            found.append("--prompt_every and --sheet_rows cannot be negative")
        return found


def main() -> int:
    data, options = parse_options()
    quiet_libraries()
    start = time.time()
    with process_group(options.device) as processes:
        model, side = load(data, options, processes)
        folder = ResultFolder(
            options.folder(data),
            side if data.benchmark == "icvos" else None,
            data.frames,
            options.save_masks,
            options.save_overlays,
        )
        benchmark = open_video_benchmark(data, processes)
        items, log = benchmark.items, ItemLog(folder.path, processes.rank)
        facts = settings(data, options, model, side) if processes.is_main else {}
        if processes.is_main:
            claim_folder(folder.path, facts)
        videos = items.by_video(items_left(benchmark, log, processes))
        if processes.is_main:
            write_supports(benchmark, data, folder.path)
            for problem in items.problems.values():
                print(f"error: {problem}", file=sys.stderr)
        shown = items.names[: options.sheet_rows]
        following = Following(model, side, benchmark.split, options, processes.device)
        mine = [videos[number] for number in processes.share(len(videos))]
        bar = tqdm(mine, data.benchmark, unit="video", disable=not processes.is_main)
        for names in bar:
            records = evaluate_items(names, items, folder, shown, following.learn, following.begin)
            for record in records:
                if "error" in record:
                    bar.write(f"error: {record['item']}: {record['error']}", file=sys.stderr)
            log.append(records)
        processes.wait()
        failures = 0
        if processes.is_main:
            records, supports = log.join(), benchmark.supports
            results = {
                **summarise(records, items, folder),
                **facts,
                "seed": data.seed,
                "supports_sha256": episode_hash(list(supports.values())) if supports else None,
                "checkpoint": str(options.ckpt or options.sam2_checkpoint or options.variant),
                "version": code_version(),
                "seconds": round(time.time() - start, 1),
            }
            write_sheet(records, shown, folder, data.benchmark)
            write_json(folder.path / "results.json", results)
            print_results(results, folder)
            failures = len(results["failed"])
        failures = processes.gather(failures)[0]
    return 1 if failures else 0


def parse_options() -> tuple[VideoDataOptions, EvaluationOptions]:
    groups = (VideoDataOptions, EvaluationOptions)
    data, options = checked_options(groups, script_parser(__doc__, groups).parse_args())
    if options.ckpt is None and not data.given:
        raise UsageError("the original SAM 2 takes no support: add --first_frame oracle")
    if data.given and options.prompt_every:
        raise UsageError("--prompt_every needs a support to prompt with, and masks are given here")
    return data, options


def load(
    data: VideoDataOptions, options: EvaluationOptions, processes: Processes
) -> tuple[DcSamVideo, int]:
    """The model, and the side to which frames are squashed."""
    size = None
    default = "streaming" if data.benchmark == "icvos" else "package"
    if options.ckpt:
        image_model, facts = load_model(options.ckpt, processes.device)
        if facts["model"]["wiring"] == "release":
            default = "release"
        if data.benchmark == "icvos":
            size = facts["model"]["image_size"]
    else:
        # SAM 2 follows alone: the other parts are the smallest there are, and are never asked
        flags = ModelOptions(
            backbone="tiny",
            sam_version=2,
            sam_model=options.variant,
            sam_weights=options.sam2_checkpoint,
        )
        torch.manual_seed(0)
        image_model = build_model(flags, read_backbone=False).eval().to(processes.device)
    try:
        model = DcSamVideo.from_image_model(image_model, WIRINGS[options.wiring or default])
    except ValueError as error:
        raise UsageError(f"--ckpt {options.ckpt}: {error}") from None
    return model, options.image_size or size or model.segmenter.image_size


def settings(
    data: VideoDataOptions, options: EvaluationOptions, model: DcSamVideo, side: int
) -> dict[str, Any]:
    """What decides the results, but for the videos and supports themselves."""
    weights = options.ckpt or options.sam2_checkpoint
    return {
        "benchmark": data.benchmark,
        "data": str(data.root.resolve()),
        "split": data.split,
        "weights": digest(weights) if weights else options.variant,
        "frozen": frozen_fingerprint(model),
        "first_frame": "oracle" if data.given else "prompt",
        "nshot": data.nshot,
        "max_frames": data.frames,
        "image_size": side,
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
    for name, key in (benchmark.supports or {}).items():
        if name in done and done[name]["support"] != list(key.support):
            raise UsageError(
                f"{log.folder} holds results of other supports ({name}): choose another folder, "
                "or delete this one"
            )
    return [name for name in benchmark.items.names if name not in done]


class Following:
    """How the model follows the items of a video."""

    def __init__(
        self,
        model: DcSamVideo,
        side: int,
        split: Split | None,
        options: EvaluationOptions,
        device: torch.device,
    ) -> None:
        """split: of the supports' images."""
        self.model, self.side, self.split = model, side, split
        self.options, self.device = options, device

    @torch.no_grad()
    def learn(self, item: VideoItem) -> Concept | None:
        """What an item's support says; None where masks are given."""
        if item.given:
            return None
        images, masks = read_supports(self.split, item.support, self.side)
        with autocast(self.device, self.options.precision):
            return self.model.learn(images.to(self.device), masks.to(self.device))

    def begin(self, items: list[VideoItem], concepts: list[Concept | None], length: int) -> Step:
        """Start a video of so many frames."""
        if items[0].given:
            objects = GivenObjects(self.model, sum(len(item.labels) for item in items), length)
        else:
            video = RunningVideo(self.model, concepts, self.options.prompt_every, length)

        def step(pixels: np.ndarray, given: dict[int, np.ndarray]) -> Tensor:
            images = squash_image(pixels, self.side)[None].to(self.device)
            masks = {row: torch.from_numpy(mask) for row, mask in given.items()}
            with autocast(self.device, self.options.precision):
                if items[0].given:
                    return objects.step(images, masks)
                return visible_logits(video.step(images))

        return step


def summarise(
    records: dict[str, Record], items: ItemSource, folder: ResultFolder
) -> dict[str, Any]:
    """What `results.json` says of all items, in percent."""
    good = [records[n] for n in items.names if "error" not in records.get(n, {"error": ""})]
    names = ("jf", "j", "f", PRESENT, *folder.sizes)

    def scores(chosen: list[Record]) -> Summary:
        rows = [row for record in chosen for row in record.get("objects", {"": record}).values()]
        return mean_summary([{name: row[name] for name in names} for row in rows])

    def groups(by: str) -> dict[str, Summary]:
        keys = sorted({record[by] for record in good if by in record})
        chosen = {key: [r for r in good if r[by] == key] for key in keys}
        return {key: {"items": len(some), **scores(some)} for key, some in chosen.items()}

    errors = {n: records[n]["error"] for n in items.names if "error" in records.get(n, {})}
    return {
        **dict.fromkeys(("jf", "j", "f")),
        **scores(good),
        "items": len(good),
        "failed": {**items.problems, **errors},
        "per_class": groups("class"),
        "per_source": groups("source"),
    }


def write_sheet(
    records: dict[str, Record], shown: Sequence[str], folder: ResultFolder, title: str
) -> None:
    """Draw the contact sheet of the first items, if any of them was finished."""
    rows = {}
    for name in shown:
        record = records.get(name, {})
        if folder.tiles(name).is_file() and "jf" in record:
            score = "no score" if record["jf"] is None else f"J&F {record['jf']:.1f}"
            rows[name] = (record.get("class", record["video"]), score)
    if rows:
        write_png(folder.path / "contact_sheet.png", video_sheet(folder, rows, title))


def print_results(results: dict[str, Any], folder: ResultFolder) -> None:
    sizes = [(f"{folder.side} x {folder.side}", folder.squashed), ("original size", ORIGINAL)]
    print(f"\n{results['items']} items {'J&F':>20}{'J':>7}{'F':>7}")
    for title, size in sizes:
        for frames, scores in (
            ("all frames", results.get(size)),
            ("frames with the object", results.get(size, {}).get(PRESENT)),
        ):
            if scores:
                numbers = (scores["jf"], scores["j"], scores["f"])
                shown = "".join("   none" if n is None else f"{n:7.1f}" for n in numbers)
                print(f"  {title + ', ' + frames:<40}{shown}")
    if results["failed"]:
        print(f"{len(results['failed'])} failed; the same command tries them again")
    print(f"written to {folder.path}: results.json, items.jsonl, contact_sheet.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
