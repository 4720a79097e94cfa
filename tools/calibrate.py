"""Calibrate a checkpoint's presence score: does this picture show the object at all?

    python -m tools.calibrate --ckpt runs/image/last.safetensors --datapath Datasets --fold 0

Half of the episodes get a query without the class. The score is fitted on held-out images of the
training classes and tested on classes that training never saw; the result is written into the
checkpoint's header, where predict.py finds it.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.checkpoint import save_checkpoint
from common.cli import checked_options, option, run_script, script_parser
from common.distributed import DEVICES, Processes, process_group
from common.errors import UsageError
from common.logger import quiet_libraries
from common.trainer import PRECISIONS, autocast
from data.benchmarks import Split, open_benchmark
from data.episode import Episode, EpisodeDataset, EpisodeKey
from data.options import DataOptions
from data.sampler import EpisodeSampler
from evaluation.image import batches
from model.checkpoint import load_model, read_model
from model.dc_sam.network import DcSam
from model.presence import PresenceScale, fit_presence, separation, signals


@dataclass(frozen=True)
class CalibrationOptions:
    """What is calibrated, and how."""

    ckpt: Path | None = option(None, "checkpoint to calibrate (required)")
    output: Path | None = option(None, "checkpoint to write (default: the same)")
    episodes: int = option(400, "with the class, and as many without")
    seed: int = option(0, "of the episodes")
    nworker: int = option(2, "processes that read episodes; 0: none but this one")
    device: str = option("auto", "where to compute", DEVICES)
    precision: str = option("fp32", "of the forward pass", tuple(PRECISIONS))

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


def main() -> int:
    data, options = parse_options()
    quiet_libraries()
    with process_group(options.device) as processes:
        model, facts = load_model(options.ckpt, processes.device)
        benchmark = open_benchmark(data, processes, lambda b: [b.held_out, b.validation])
        fitted, tested = (
            measure(model, split, facts["model"]["image_size"], data.nshot, options, processes)
            for split in (benchmark.held_out, benchmark.validation)
        )
        scale = fit_presence(*fitted)
        score = separation(scale.likelihood(tested[0]), tested[1])
        if processes.is_main:
            write(options, scale, score)
            print(
                f"presence score on {len(tested[1])} queries of unseen classes, half of them "
                f"without the class: ROC AUC {score:.3f}; written to {options.written}"
            )
    return 0


def parse_options() -> tuple[DataOptions, CalibrationOptions]:
    groups = (DataOptions, CalibrationOptions)
    return checked_options(groups, script_parser(__doc__, groups).parse_args())


@torch.no_grad()
def measure(
    model: DcSam,
    split: Split,
    image_size: int,
    shots: int,
    options: CalibrationOptions,
    processes: Processes,
) -> tuple[Tensor, Tensor]:
    """Signals of episodes with and without the class, N x 3, and which are which, N bool."""
    sampler = EpisodeSampler(split, shots, options.seed, leave_out_rare=True)
    keys = sampler.evaluation_keys(options.episodes)
    episodes = EpisodeDataset(split, [*keys, *without_class(split, keys)], image_size)
    found, present = [], []
    title = f"{split.role} classes"
    for indices, batch in batches(episodes, Episode.join, options.nworker, processes, title):
        with autocast(processes.device, options.precision):
            concept = model.learn(batch.support_images, batch.support_masks)
            images = model.encode(batch.query_image)
            prediction = model.find(images, concept)
        found += signals(prediction, images, concept).cpu()
        present += [index < len(keys) for index in indices]
    pairs = [
        pair for mine in processes.gather((found, present)) for pair in zip(*mine, strict=True)
    ]
    return torch.stack([one for one, _ in pairs]), torch.tensor([there for _, there in pairs])


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


def write(options: CalibrationOptions, scale: PresenceScale, score: float) -> None:
    """Put the calibration into the checkpoint's header."""
    facts, weights = read_model(options.ckpt)
    facts = {name: value for name, value in facts.items() if name != "version"}
    facts["presence"] = {**dataclasses.asdict(scale), "unseen_classes_auc": round(score, 4)}
    save_checkpoint(options.written, weights, facts)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
