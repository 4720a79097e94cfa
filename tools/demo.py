"""The whole system on a laptop, on drawn pictures or videos.

    python -m tools.demo images     train on 15 classes, evaluate on 5 unseen ones
    python -m tools.demo pairs      train SegIC on pairs of views of pictures with several objects,
                                    evaluate on 5 unseen classes
    python -m tools.demo video      train in two stages, on images and on mask tubes; then carry
                                    one labelled image through videos, whose motion training
                                    never showed
    python -m tools.demo instances  train on pairs of pictures with several objects, then look for
                                    every object of 20 classes, each shown by a few

It runs the commands that a person would type, prints them, and gathers what they write in the
folder --output: results.json, contact_sheet.png (of each fold where there are several), of videos
overlay.mp4 too, TensorBoard logs and checkpoints.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from common.commands import CommandFailed, run_command
from common.files import parse_json
from common.logger import write_json
from common.training_options import STATE_FILE
from data.synthetic.style import DEMO_FRAMES, DEMO_IMAGES, DEMO_VIDEOS

MANY_SHOTS = 5
SHEET = "contact_sheet.png"
COMPARISON = "comparison.png"
OVERLAY = "overlay.mp4"
UNTRAINED = (
    "insid3:size=tiny",
    "persam:sam_model=tiny",
    "persam_f:sam_model=tiny",
    "matcher:size=tiny",
    "sansa:sam_model=tiny",
)
"""Methods as `tools.compare` takes them, with this repository's tiny networks in place of the
official ones: the same code, whose numbers say nothing about photographs."""
OF_PAIRS = {"segic": "SegIC"}
"""Methods that learn from pairs, and their names."""
VIDEO_ROWS = {
    "oracle_first_frame": "SAM 2, first mask given",
    "mask_tube": "DC-SAM, with mask tubes",
    "image_only": "DC-SAM, images alone",
}
AP_KINDS = ("box", "mask")
INSTANCE_ROWS = {
    "1_shot": "SINE, 1 shot",
    f"{MANY_SHOTS}_shot": f"SINE, {MANY_SHOTS} shots",
    "parted_masks": f"INSID3's masks, {MANY_SHOTS} shots",
}

Flags = argparse.Namespace


def main() -> int:
    flags = parse_flags()
    run, show = DEMOS[flags.demo]
    start = time.time()
    try:
        results = run(flags)
    except CommandFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    results["seconds"] = round(time.time() - start, 1)
    write_json(flags.output / "results.json", results)
    show(results)
    names = (SHEET, COMPARISON, OVERLAY)
    found = [path for name in names for path in sorted(flags.output.glob(f"**/{name}"))]
    shown = [path for path in found if path.parent == flags.output or "fold" in path.parent.name]
    there = ", ".join(map(str, shown))
    print(f"{results['seconds']:.0f} s. Look at {there}")
    return 0


def parse_flags() -> Flags:
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demos = parser.add_subparsers(dest="demo", required=True, metavar=" | ".join(DEMOS))
    images, pairs, video, instances = (demos.add_parser(name) for name in DEMOS)
    drawn = Path("Datasets/generated")
    for demo, layout, folder, data in (
        (images, "voc", "demo", drawn),
        (pairs, "voc", "demo-pairs", drawn),
        (video, "coco", "demo-video", drawn),
        (instances, "coco", "demo-instances", drawn / "objects"),  # another COCO2017 than of pairs
    ):
        demo.add_argument(
            "--output", type=Path, default=Path("runs") / folder, help="folder to write"
        )
        demo.add_argument("--datapath", type=Path, default=data, help="folder to draw into")
        for name, title in (("train", "training"), ("val", "validation")):
            _number(
                demo, f"--{name}", DEMO_IMAGES[layout][name], f"number of {title} images to draw"
            )
        _number(demo, "--seed", 0, "seed of what is drawn, of trainings and of evaluations")
    images.add_argument(
        "--folds", type=int, nargs="+", default=[0], choices=range(4), help="folds to run"
    )
    _number(images, "--updates", 1200, "number of training updates")
    _number(images, "--test_episodes", 500, "number of episodes that are evaluated")
    _number(images, "--compared_episodes", 100, "number of them on which methods are compared")
    _number(pairs, "--pictures", 400, "number of pictures with several objects to draw")
    _number(pairs, "--test_episodes", 200, "number of episodes that are evaluated")
    _number(video, "--videos", DEMO_VIDEOS, "number of videos to draw")
    _number(video, "--frames", DEMO_FRAMES, "number of frames of each video")
    _number(video, "--updates", 600, "number of training updates on images")
    _number(video, "--tube_updates", 160, "number of training updates on mask tubes")
    _number(instances, "--test_images", 100, "number of images in which objects are looked for")
    return parser.parse_args()


def _number(parser: argparse.ArgumentParser, flag: str, default: int, text: str) -> None:
    parser.add_argument(flag, type=int, default=default, help=f"{text} (default: %(default)s)")


def run_images(flags: Flags) -> dict[str, Any]:
    """Draw images, then train and evaluate each fold."""
    draw(flags, "voc", "--train", flags.train, "--val", flags.val)
    folds = {fold: run_fold(flags, fold) for fold in flags.folds}
    one = [results["1_shot"] for results in folds.values()]
    many = [results[f"{MANY_SHOTS}_shot"] for results in folds.values()]
    return {
        "miou": fmean(results["miou"] for results in one),
        "fb_iou": fmean(results["fb_iou"] for results in one),
        f"miou_{MANY_SHOTS}_shot": fmean(results["miou"] for results in many),
        "baselines": {
            name: fmean(results["baselines"][name] for results in one)
            for name in one[0]["baselines"]
        },
        "folds": {str(fold): results for fold, results in folds.items()},
        "episodes": flags.test_episodes,
    }


def run_fold(flags: Flags, fold: int) -> dict[str, Any]:
    """Train on one fold's 15 classes and evaluate on its 5 others, with one shot and with five."""
    folder = flags.output if len(flags.folds) == 1 else flags.output / f"fold{fold}"
    data = ("--datapath", flags.datapath, "--benchmark", "pascal", "--fold", fold)
    train(flags, "train_image.py", folder, flags.updates, *data, "--store_features")
    results = {
        f"{shots}_shot": evaluate(
            *("eval_image.py", folder / f"{shots}_shot", "--seed", flags.seed, *data),
            *("--nshot", shots, "--test_episodes", flags.test_episodes),
            *("--ckpt", folder / "last.safetensors"),
            *(["--baselines"] if shots == 1 else []),
        )
        for shots in (1, MANY_SHOTS)
    }
    shutil.copyfile(folder / "1_shot" / SHEET, folder / SHEET)
    compare(flags, folder, *data)
    return results


def compare(flags: Flags, folder: Path, *data: object) -> None:
    """Set methods that need no training beside the trained model, all of tiny networks."""
    run_command(
        *("-m", "tools.compare", "--methods", folder / "last.safetensors", *UNTRAINED, *data),
        *("--test_episodes", flags.compared_episodes, "--seed", flags.seed, "--seeds", 1),
        *("--output", folder / "compared"),
    )
    shutil.copyfile(folder / "compared" / COMPARISON, folder / COMPARISON)


def show_images(results: dict[str, Any]) -> None:
    print(f"\nmIoU on {results['episodes']} episodes of classes that training never showed")
    rows = {
        "DC-SAM, 1 shot": results["miou"],
        f"DC-SAM, {MANY_SHOTS} shots": results[f"miou_{MANY_SHOTS}_shot"],
    }
    show_bars({**rows, **results["baselines"]})


def run_pairs(flags: Flags) -> dict[str, Any]:
    """Draw pictures with one class and with several objects, train on both, evaluate each."""
    draw(flags, "voc", "--train", flags.train, "--val", flags.val)
    draw(flags, "coco2017", "--train", flags.pictures, "--val", 1)
    data = ("--datapath", flags.datapath, "--benchmark", "pascal", "--fold", 0)
    found = {}
    for method in OF_PAIRS:
        folder = flags.output / method
        train(flags, "train_image.py", folder, None, *data, "--method", method)
        found[method] = evaluate(
            *("eval_image.py", folder / "1_shot", "--seed", flags.seed, *data, "--baselines"),
            *("--ckpt", folder / "last.safetensors", "--test_episodes", flags.test_episodes),
        )
        shutil.copyfile(folder / "1_shot" / SHEET, flags.output / SHEET)
    baselines = [results["baselines"] for results in found.values()]
    return {
        "miou": {method: results["miou"] for method, results in found.items()},
        "baselines": baselines[0],
        "results": found,
        "episodes": flags.test_episodes,
    }


def show_pairs(results: dict[str, Any]) -> None:
    print(f"\nmIoU on {results['episodes']} episodes of classes that training never showed")
    rows = {f"{OF_PAIRS[name]}, 1 shot": miou for name, miou in results["miou"].items()}
    show_bars({**rows, **results["baselines"]})


def show_bars(rows: dict[str, float]) -> None:
    for name, miou in rows.items():
        print(f"  {name:<24}{miou:6.1f}  {'#' * round(miou / 2)}")


def run_video(flags: Flags) -> dict[str, Any]:
    """Draw images and videos of the same classes, train both stages, evaluate each."""
    draw(flags, "coco", "--train", flags.train, "--val", flags.val)
    draw(flags, "icvos", "--videos", flags.videos, "--frames", flags.frames)
    data = ("--datapath", flags.datapath, "--benchmark")
    videos = ("--icvos_path", flags.datapath / "IC-VOS", "--coco_path", flags.datapath)
    images, tubes = flags.output / "images", flags.output / "tubes"
    first, second = images / "last.safetensors", tubes / "last.safetensors"
    seed = ("--seed", flags.seed)
    oracle = ("--sam2_cfg", "tiny", "--first_frame", "oracle")

    train(flags, "train_video.py", images, flags.updates, *data, "coco_all", "--store_features")
    train(
        *(flags, "train_video.py", tubes, flags.tube_updates, *data, "coco_mask_tube"),
        *("--ckpt", first, "--validation_episodes", 20),
    )
    results = {
        name: evaluate("eval_video.py", folder, *seed, *videos, "--save_overlays", *tested)
        for name, folder, tested in (
            ("image_only", images / "icvos", ("--ckpt", first)),
            ("mask_tube", tubes / "icvos", ("--ckpt", second)),
            ("oracle_first_frame", flags.output / "oracle", oracle),
        )
    }
    shutil.copyfile(tubes / "icvos" / SHEET, flags.output / SHEET)
    overlays = sorted((tubes / "icvos" / "overlays").rglob("*.mp4"))
    shutil.copyfile(overlays[0], flags.output / OVERLAY)
    scores = {s: {name: found[s] for name, found in results.items()} for s in ("jf", "j", "f")}
    return {**scores, "results": results, "videos": flags.videos}


def show_video(results: dict[str, Any]) -> None:
    print(f"\non {results['videos']} videos{'J&F':>15}{'J':>7}{'F':>7}")
    for name, title in VIDEO_ROWS.items():
        scores = "".join(f"{results[score][name]:7.1f}" for score in ("jf", "j", "f"))
        print(f"  {title:<24}{scores}  {'#' * round(results['jf'][name] / 2)}")


def run_instances(flags: Flags) -> dict[str, Any]:
    """Draw images with several objects, train on pairs of them, and look for objects in others."""
    pictures = ("--train", flags.train, "--val", flags.val)
    draw(flags, "coco2017", *pictures, "--crowded")
    draw(flags, "coco", *pictures)
    draw(flags, "few_shot")
    data = ("--datapath", flags.datapath, "--benchmark")
    train(
        *(flags, "train_image.py", flags.output, None, *data, "coco_all"),
        *("--method", "sine", "--validation_episodes", 20),
    )
    ckpt, parted = ("--ckpt", flags.output / "last.safetensors"), ("--method", "insid3")
    tested = {
        "1_shot": (*ckpt, "--nshot", 1),
        f"{MANY_SHOTS}_shot": (*ckpt, "--nshot", MANY_SHOTS),
        "parted_masks": (*parted, "--size", "tiny", "--nshot", MANY_SHOTS),
    }
    number = ("--seeds", 1, "--test_images", flags.test_images)
    results = {
        name: evaluate("eval_instance.py", flags.output / name, *data, "coco_novel", *number, *more)
        for name, more in tested.items()
    }
    shutil.copyfile(flags.output / f"{MANY_SHOTS}_shot" / SHEET, flags.output / SHEET)
    scores = {kind: {n: found[kind]["ap"] for n, found in results.items()} for kind in AP_KINDS}
    return {**scores, "results": results, "images": flags.test_images}


def show_instances(results: dict[str, Any]) -> None:
    print(f"\non {results['images']} images{'AP of boxes':>22}{'of masks':>12}")
    for name, title in INSTANCE_ROWS.items():
        box, mask = (results[kind][name] for kind in AP_KINDS)
        print(f"  {title:<24}{box:10.1f}{mask:12.1f}  {'#' * round(mask / 2)}")


def draw(flags: Flags, layout: str, *numbers: object) -> None:
    """Draw a benchmark; one that is there already is taken as it is."""
    root = ("--root", flags.datapath, "--seed", flags.seed)
    run_command("-m", "data.synthetic", layout, *root, *numbers)


def train(flags: Flags, script: str, folder: Path, updates: int | None, *more: object) -> None:
    """Train a tiny model, or go on where it was interrupted; None: as long as its preset says."""
    length = () if updates is None else ("--max_iterations", updates, "--epochs", updates)
    resumed = ["--resume"] if (folder / STATE_FILE).is_file() else []
    run_command(
        *(script, "--preset", "tiny", "--output", folder, "--seed", flags.seed),
        *(*length, *more, *resumed),
    )


def evaluate(script: str, folder: Path, *more: object) -> dict[str, Any]:
    """The results of an evaluation, which stay in a folder."""
    run_command(script, "--output", folder, *more)
    return parse_json((folder / "results.json").read_text())


DEMOS = {
    "images": (run_images, show_images),
    "pairs": (run_pairs, show_pairs),
    "video": (run_video, show_video),
    "instances": (run_instances, show_instances),
}
"""What a demo does, and how it shows its results."""


if __name__ == "__main__":
    raise SystemExit(main())
