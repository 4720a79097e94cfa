"""The video system on a laptop: train in two stages, then carry one labelled image through videos.

    python -m tools.demo_video --output runs/demo-video

Draws images and videos of the same classes; trains on images, goes on with mask tubes, and
evaluates on videos, whose motion training never showed. It runs the commands that a person would
type, prints them, and gathers what they write: results.json, contact_sheet.png, overlay.mp4,
TensorBoard logs and both checkpoints.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from common.commands import demonstrate, run_command
from data.synthetic.style import DEMO_FRAMES, DEMO_IMAGES, DEMO_VIDEOS

TITLES = {
    "oracle_first_frame": "SAM 2, first mask given",
    "mask_tube": "DC-SAM, with mask tubes",
    "image_only": "DC-SAM, images alone",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/demo-video"), help="folder to write"
    )
    parser.add_argument("--datapath", type=Path, default=Path("Datasets/generated"))
    parser.add_argument(
        "--train",
        type=int,
        default=DEMO_IMAGES["coco"]["train"],
        help="number of training images to draw",
    )
    parser.add_argument(
        "--val",
        type=int,
        default=DEMO_IMAGES["coco"]["val"],
        help="number of validation images to draw",
    )
    parser.add_argument("--videos", type=int, default=DEMO_VIDEOS, help="number of videos to draw")
    parser.add_argument(
        "--frames", type=int, default=DEMO_FRAMES, help="number of frames of each video"
    )
    parser.add_argument("--updates", type=int, default=600, help="of training on images")
    parser.add_argument("--tube_updates", type=int, default=160, help="of training on mask tubes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    return demonstrate(lambda: run(options), print_summary, options.output)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All steps; returns what results.json holds."""
    start = time.time()
    data, output = options.datapath, options.output
    root = ("--root", data, "--seed", options.seed)
    run_command(
        *("-m", "data.synthetic", "coco", *root),
        *("--train", options.train, "--val", options.val),
    )
    run_command(
        *("-m", "data.synthetic", "icvos", *root),
        *("--videos", options.videos, "--frames", options.frames),
    )
    images, tubes = output / "images", output / "tubes"
    train(options, "coco_all", images, options.updates, "--store_features")
    train(
        *(options, "coco_mask_tube", tubes, options.tube_updates),
        *("--ckpt", images / "last.safetensors", "--validation_episodes", 20),
    )
    results = {
        "image_only": evaluate(options, images / "icvos", "--ckpt", images / "last.safetensors"),
        "mask_tube": evaluate(options, tubes / "icvos", "--ckpt", tubes / "last.safetensors"),
        "oracle_first_frame": evaluate(
            *(options, output / "oracle", "--sam2_cfg", "tiny", "--first_frame", "oracle")
        ),
    }
    best = tubes / "icvos"
    shutil.copyfile(best / "contact_sheet.png", output / "contact_sheet.png")
    shutil.copyfile(sorted((best / "overlays").rglob("*.mp4"))[0], output / "overlay.mp4")
    return {
        **{
            score: {name: found[score] for name, found in results.items()}
            for score in ("jf", "j", "f")
        },
        "results": results,
        "videos": options.videos,
        "seconds": round(time.time() - start, 1),
    }


def train(
    options: argparse.Namespace, benchmark: str, folder: Path, updates: int, *more: object
) -> None:
    """One stage of training."""
    resumed = ["--resume"] if (folder / "state.pt").is_file() else []
    run_command(
        *("train_video.py", "--preset", "tiny", "--benchmark", benchmark),
        *("--datapath", options.datapath, "--output", folder, "--seed", options.seed),
        *("--max_iterations", updates, "--epochs", updates, *more, *resumed),
    )


def evaluate(options: argparse.Namespace, folder: Path, *what: object) -> dict[str, Any]:
    """The results of a model on the videos."""
    run_command(
        *("eval_video.py", *what, "--icvos_path", options.datapath / "IC-VOS"),
        *("--coco_path", options.datapath, "--seed", options.seed, "--output", folder),
        "--save_overlays",
    )
    return json.loads((folder / "results.json").read_text())


def print_summary(summary: dict[str, Any], folder: Path) -> None:
    print(f"\non {summary['videos']} videos{'J&F':>15}{'J':>7}{'F':>7}")
    for name, title in TITLES.items():
        scores = "".join(f"{summary[score][name]:7.1f}" for score in ("jf", "j", "f"))
        print(f"  {title:<24}{scores}  {'#' * round(summary['jf'][name] / 2)}")
    print(f"{summary['seconds']:.0f} s. Look at {folder / 'contact_sheet.png'} and overlay.mp4")


if __name__ == "__main__":
    raise SystemExit(main())
