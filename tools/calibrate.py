"""Calibrate a checkpoint's presence score: does this picture show the object at all?

    python -m tools.calibrate --ckpt runs/image/last.safetensors --datapath Datasets

Half of the episodes get a query without the class. The score is fitted on held-out images of the
training classes and tested on the classes that training never saw, unless it saw all; the result is
written into the checkpoint's header, where predict.py finds it.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, option, run_script, script_parser
from common.distributed import DEVICES
from common.training_options import PRECISIONS
from evaluation.episodes import TestedData


@dataclass(frozen=True)
class CalibrationOptions:
    """What is calibrated, and how."""

    ckpt: Path | None = option(None, "checkpoint to calibrate (required)")
    output: Path | None = option(None, "checkpoint to write (default: the same)")
    episodes: int = option(400, "number of episodes with the class, and as many without")
    seed: int = option(0, "seed of the episodes")
    nworker: int = option(2, "number of processes that read episodes; 0: none but this one")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    @property
    def written(self) -> Path:
        return self.output or self.ckpt

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt is None:
            found.append("--ckpt is required: the checkpoint to calibrate")
        elif not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        elif self.written.suffix != ".safetensors":
            found.append(f"--output must be a .safetensors file, not {self.written}")
        if self.episodes < 2 or self.nworker < 0 or self.seed < 0:
            found.append("--episodes must be at least 2, --nworker and --seed not negative")
        return found


def parse_options() -> tuple[TestedData, CalibrationOptions]:
    groups = (TestedData, CalibrationOptions)
    return checked_options(groups, script_parser(__doc__, groups).parse_args())


answer_early(__name__, parse_options)

import dataclasses
from collections.abc import Sequence

import torch

from common.checkpoint import save_checkpoint
from common.distributed import Processes, process_group
from common.errors import UsageError
from common.logger import quiet_libraries
from data.benchmarks import EpisodeKey, Split, open_benchmark
from data.episode import EpisodeDataset
from data.sampler import EpisodeSampler
from evaluation.exposure import IN_DOMAIN, STRICT, Exposure
from evaluation.image import batches, predict_episodes
from evaluation.presence import LabelledSignals, fit_presence, roc_auc
from model.checkpoint import load_method, read_checkpoint
from model.method import Method
from model.presence import PresenceScale

AUC_NAMES = {IN_DOMAIN: "seen_classes_auc", STRICT: "unseen_classes_auc"}
"""What the area under the ROC curve is called in the header."""


def main() -> int:
    data, options = parse_options()
    quiet_libraries()
    with process_group(options.device) as processes:
        method, facts = load_method(options.ckpt, processes.device)
        data = data.completed(facts, options.ckpt)
        exposure = Exposure.of_fold(facts, data.benchmark, data.fold)
        benchmark = open_benchmark(data, processes, lambda b: [b.held_out, b.validation])
        measured = []
        for place, split in enumerate((benchmark.held_out, benchmark.validation)):
            sampler = EpisodeSampler(split, data.nshot, options.seed, leave_out_rare=True)
            # where training has seen all classes, both splits are one: then these differ
            keys = sampler.evaluation_keys(2 * options.episodes)[place::2]
            keys += without_class(split, keys)
            episodes = EpisodeDataset(split, keys, method.geometry)
            measured.append(measure(method, episodes, options, processes))
        fitted, tested = measured
        scale = fit_presence(fitted)
        score = roc_auc(scale, tested)
        if processes.is_main:
            write(options, scale, {AUC_NAMES.get(exposure.word, "auc"): round(score, 4)})
            print(
                f"presence score on {len(tested.present)} queries ({exposure}), half of them "
                f"without the class: ROC AUC {score:.3f}; written to {options.written}"
            )
    return 0


def without_class(split: Split, keys: Sequence[EpisodeKey]) -> list[EpisodeKey]:
    """The same supports, each with the next episode's query that has no pixel of the class."""
    shown = {key.query: set(split.read(key.query)[1].flat) for key in keys}
    absent = []
    for position, key in enumerate(keys):
        following = (other.query for other in (*keys[position + 1 :], *keys[:position]))
        query = next((name for name in following if key.class_id not in shown[name]), None)
        if query is not None:
            absent.append(dataclasses.replace(key, query=query))
    if not absent:
        raise UsageError(f"every image of the {split.role} classes shows every class")
    return absent


def measure(
    method: Method, episodes: EpisodeDataset, options: CalibrationOptions, processes: Processes
) -> LabelledSignals:
    """Signals of all episodes; the first ones show their class."""
    found, present = [], []
    title = f"{episodes.split.role} classes"
    for batch in batches(episodes, processes, options.nworker, title):
        found.append(predict_episodes(method, batch, options.precision).signals.cpu())
        present += [index < options.episodes for index in batch.indices]
    everybody = processes.gather((found, present))
    return LabelledSignals(
        torch.cat([part for parts, _ in everybody for part in parts]),
        torch.tensor([one for _, flags in everybody for one in flags]),
    )


def write(options: CalibrationOptions, scale: PresenceScale, auc: dict[str, float]) -> None:
    """Put the calibration into the checkpoint's header."""
    facts, weights = read_checkpoint(options.ckpt)
    facts = {name: value for name, value in facts.items() if name != "version"}
    facts["presence"] = {**dataclasses.asdict(scale), **auc}
    save_checkpoint(options.written, weights, facts)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
