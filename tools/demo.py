"""The whole system on a laptop: draw images, train on 15 classes, evaluate on 5 unseen ones.

    python -m tools.demo --output runs/demo

It runs the commands that a person would type, prints them, and gathers what they write:
results.json, contact_sheet.png, TensorBoard logs and the checkpoint.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from common.commands import demonstrate, run_command
from data.synthetic.style import DEMO_IMAGES

MANY_SHOTS = 5


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder to write")
    parser.add_argument("--datapath", type=Path, default=Path("Datasets/generated"))
    parser.add_argument("--folds", type=int, nargs="+", default=[0], choices=range(4))
    parser.add_argument(
        "--train",
        type=int,
        default=DEMO_IMAGES["voc"]["train"],
        help="number of training images to draw",
    )
    parser.add_argument(
        "--val",
        type=int,
        default=DEMO_IMAGES["voc"]["val"],
        help="number of validation images to draw",
    )
    parser.add_argument("--updates", type=int, default=1200, help="training updates")
    parser.add_argument("--test_episodes", type=int, default=500, help="evaluation episodes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    return demonstrate(lambda: run(options), print_summary, options.output)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All steps; returns what results.json holds."""
    start = time.time()
    run_command(
        *("-m", "data.synthetic", "voc", "--root", options.datapath),
        *("--train", options.train, "--val", options.val, "--seed", options.seed),
    )
    folds = {fold: run_fold(options, fold) for fold in options.folds}
    first = folds[options.folds[0]]

    def mean(*path: str) -> float:
        values = list(folds.values())
        for key in path:
            values = [value[key] for value in values]
        return sum(values) / len(values)

    return {
        "miou": mean("1_shot", "miou"),
        "fb_iou": mean("1_shot", "fb_iou"),
        f"miou_{MANY_SHOTS}_shot": mean(f"{MANY_SHOTS}_shot", "miou"),
        "baselines": {name: mean("1_shot", "baselines", name) for name in _names(first)},
        "folds": {str(fold): results for fold, results in folds.items()},
        "episodes": options.test_episodes,
        "seconds": round(time.time() - start, 1),
    }


def run_fold(options: argparse.Namespace, fold: int) -> dict[str, Any]:
    """Train on one fold's 15 classes and evaluate on its 5 others, with one shot and with five."""
    folder = options.output if len(options.folds) == 1 else options.output / f"fold{fold}"
    data = ("--datapath", options.datapath, "--benchmark", "pascal", "--fold", fold)
    resumed = ["--resume"] if (folder / "state.pt").is_file() else []
    run_command(
        *("train_image.py", "--preset", "tiny", *data, "--output", folder),
        *("--max_iterations", options.updates, "--epochs", options.updates),
        *("--store_features", "--seed", options.seed, *resumed),
    )
    results = {}
    for shots in (1, MANY_SHOTS):
        place = folder / f"{shots}_shot"
        run_command(
            *("eval_image.py", "--ckpt", folder / "last.safetensors", *data, "--nshot", shots),
            *("--test_episodes", options.test_episodes, "--seed", options.seed),
            *("--output", place, *(["--baselines"] if shots == 1 else [])),
        )
        results[f"{shots}_shot"] = json.loads((place / "results.json").read_text())
    sheet = (folder / "1_shot" / "contact_sheet.png").read_bytes()
    (folder / "contact_sheet.png").write_bytes(sheet)
    return results


def _names(results: dict[str, Any]) -> list[str]:
    return list(results["1_shot"]["baselines"])


def print_summary(summary: dict[str, Any], folder: Path) -> None:
    many = summary[f"miou_{MANY_SHOTS}_shot"]
    print(f"\nmIoU on {summary['episodes']} episodes of classes that training never showed")
    rows = {"DC-SAM, 1 shot": summary["miou"], f"DC-SAM, {MANY_SHOTS} shots": many}
    for name, miou in {**rows, **summary["baselines"]}.items():
        print(f"  {name:<24}{miou:6.1f}  {'#' * round(miou / 2)}")
    print(f"{summary['seconds']:.0f} s. Look at {folder / 'contact_sheet.png'}")


if __name__ == "__main__":
    raise SystemExit(main())
