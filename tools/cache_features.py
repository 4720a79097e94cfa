"""Encode every image of a benchmark once, for trainings and evaluations that follow.

    python -m tools.cache_features --benchmark pascal --fold 0 --feature_cache features
    torchrun --nproc_per_node=8 -m tools.cache_features --method vrp_sam --feature_cache features

Give the flags of the model that train_image.py will get, or --ckpt to evaluate one. What is there
is not encoded again, and any number of these programs may fill one folder at the same time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import answer_early, checked_options, option, run_script, script_parser
from common.distributed import DEVICES
from common.run_options import CacheOptions
from common.training_options import PRECISIONS
from data.options import BENCHMARKS, DataOptions
from model.registry import METHODS, training_flags


@dataclass(frozen=True)
class CachingOptions(CacheOptions):
    """What is encoded."""

    ckpt: Path | None = option(None, "checkpoint that encodes, instead of --method")
    seed: int = option(0, "seed of random weights, as in the training")
    nworker: int = option(2, "number of processes that read images; 0: none but this one")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = super().problems()
        if self.feature_cache is None:
            found.append("--feature_cache is required: the folder to fill")
        if self.ckpt and not self.ckpt.is_file():
            found.append(f"--ckpt: no such file: {self.ckpt}")
        if self.nworker < 0 or self.seed < 0:
            found.append("--nworker and --seed cannot be negative")
        return found


def parse_options() -> tuple[DataOptions, CachingOptions, Any]:
    method, choices, defaults = training_flags(BENCHMARKS, "method that encodes")
    groups = (DataOptions, CachingOptions, method.options)
    parser = script_parser(__doc__, groups, choices)
    parser.set_defaults(**defaults)
    return checked_options(groups, parser.parse_args())


answer_early(__name__, parse_options)

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from common.distributed import process_group
from common.errors import UsageError
from common.geometry import Geometry
from common.logger import quiet_libraries
from common.trainer import autocast
from data.benchmarks import Benchmark, Split, open_benchmark
from model.checkpoint import load_method
from model.encoding import set_up_encoding
from model.method import Method


class Images(Dataset):
    """Every image of a benchmark once, as episodes show it."""

    def __init__(self, benchmark: Benchmark, geometry: Geometry) -> None:
        self.geometry = geometry
        places: dict[tuple[str, str], tuple[Split, str]] = {}
        for split in (benchmark.training, benchmark.held_out, benchmark.validation):
            for name in sorted(split.class_lists):
                places.setdefault((split.benchmark, name), (split, name))
        self.places = list(places.values())

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        split, name = self.places[index]
        image, mask = split.read_class(name, next(iter(split.class_lists[name])))
        return self.geometry.image(image)[None], torch.tensor([mask.shape])


def main() -> int:
    data, options, built_from = parse_options()
    quiet_libraries()
    with process_group(options.device) as processes:
        benchmark = open_benchmark(data, processes, lambda b: [b.training, b.held_out])
        if options.ckpt:
            model, facts = load_method(options.ckpt, processes.device)
        else:
            torch.manual_seed(options.seed)
            model = METHODS[built_from.method].build(built_from).eval().to(processes.device)
            facts = {"model": built_from.to_json()}
            if model.encoder_learns:
                raise UsageError(f"{model.name} trains the encoder itself: give a --ckpt of it")
        set_up_encoding(model, facts["model"], options, processes.is_main)
        images = Images(benchmark, model.geometry)
        mine = Subset(images, processes.share(len(images)))
        fill(model, mine, options, processes.is_main)
        counts = processes.gather((model.store.misses, model.store.hits))
        encoded, there = (sum(column) for column in zip(*counts, strict=True))
        if processes.is_main:
            print(f"{encoded} images encoded, {there} were there; in {options.feature_cache}")
    return 0


@torch.no_grad()
def fill(model: Method, images: Dataset, options: CachingOptions, show: bool) -> None:
    """Ask for the features of some images, which keeps them."""
    device = next(model.parameters()).device
    loader = DataLoader(images, None, num_workers=options.nworker)
    for image, size in tqdm(loader, "encoding", unit="image", disable=not show):
        with autocast(device, options.precision):
            model.features(image.to(device), sizes=size)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
