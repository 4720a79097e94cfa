"""What every training run has around its step: optimiser, schedule, precision, resuming."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.data.distributed import DistributedSampler
from tqdm import tqdm

from common.checkpoint import read_training_state, save_checkpoint, save_training_state
from common.cli import option, to_json
from common.distributed import DEVICES, Processes
from common.errors import UsageError
from common.optimizer import SCHEDULES, UNDECAYED, parameter_groups, rate_schedule

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
STATE_FILE = "state.pt"

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained."""

    epochs: int = option(50, "passes over the training episodes")
    bsz: int = option(2, "episodes per process and step")
    accumulate: int = option(1, "steps whose gradients make one update")
    lr: float = option(1e-4, "peak learning rate of AdamW")
    schedule: str = option(
        "cosine",
        "how the rate falls, per update: to zero along a cosine or a line, or (step) to a tenth "
        "after --drop_after epochs",
        SCHEDULES,
    )
    warmup: int = option(0, "updates in which the rate rises to its peak, before it falls")
    drop_after: int | None = option(None, "with --schedule step: epochs at the full rate")
    weight_decay: float = option(1e-5, "weight decay of AdamW")
    undecayed: str = option(
        "nothing",
        "what weight decay leaves alone; vectors: embeddings, norms, biases and single numbers",
        UNDECAYED,
    )
    clip_norm: float | None = option(
        None, "shorten the gradient of an update to this norm where it is longer; inf: never"
    )
    max_iterations: int | None = option(None, "stop after so many updates; the decay ends there")
    nworker: int = option(2, "processes that read episodes; 0: none but this one")
    seed: int = option(0, "seed of weights and episodes")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = [
            f"--{name} must be at least 1, not {getattr(self, name)}"
            for name in ("epochs", "bsz", "accumulate")
            if getattr(self, name) < 1
        ]
        if self.lr <= 0:
            found.append(f"--lr must be above 0, not {self.lr}")
        if self.weight_decay < 0 or self.nworker < 0 or self.seed < 0:
            found.append("--weight_decay, --nworker and --seed cannot be negative")
        if self.warmup < 0:
            found.append(f"--warmup cannot be negative: {self.warmup}")
        if (self.schedule == "step") != (self.drop_after is not None):
            found.append("--schedule step and --drop_after belong together")
        if self.drop_after is not None and self.drop_after < 1:
            found.append(f"--drop_after must be at least 1, not {self.drop_after}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            found.append(f"--clip_norm must be above 0, not {self.clip_norm}")
        if self.max_iterations is not None and self.max_iterations < 1:
            found.append(f"--max_iterations must be at least 1, not {self.max_iterations}")
        return found

    def deciding(self, update_size: int) -> dict[str, Any]:
        """What decides the weights, however many processes share an update's episodes."""
        left_out = ("bsz", "accumulate", "nworker", "device")
        decisions = {n: v for n, v in to_json(self).items() if n not in left_out}
        return {**decisions, "episodes_per_update": update_size}


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context in which a forward pass runs."""
    kind = PRECISIONS[precision]
    return nullcontext() if kind is None else torch.autocast(device.type, kind)


class Trainer:
    """The state of a training run: optimiser, schedule, precision, progress and checkpoints.

    An epoch is a number of updates; an update is `accumulate` batches of `bsz` in every process.
    """

    def __init__(
        self,
        model: nn.Module,
        options: TrainingOptions,
        processes: Processes,
        episodes_per_epoch: int,
        losses: nn.Module | None = None,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """What of the model requires gradients learns.

        Args:
            losses: what is called to compute the losses, made of the model's own weights
                (default: the model).
            rates: the learning rate of parameters whose names start so, as a part of `options.lr`.

        Raises:
            UsageError: an epoch has fewer episodes than an update takes, or the rate would rise in
                all updates.
        """
        self.model, self.options, self.processes = model, options, processes
        self.device, self.is_main = processes.device, processes.is_main
        self.update_size = options.bsz * options.accumulate * processes.count
        """Episodes of one update, whoever computes them."""
        self.epoch_length = episodes_per_epoch // self.update_size
        """Updates per epoch."""
        if not self.epoch_length:
            raise UsageError(
                f"an epoch of {episodes_per_epoch} episodes is smaller than one update of "
                f"{self.update_size}: take smaller batches, or accumulate fewer"
            )
        self.updates = options.epochs * self.epoch_length
        if options.max_iterations is not None:
            self.updates = min(self.updates, options.max_iterations)
        if options.warmup >= self.updates:
            raise UsageError(
                f"--warmup {options.warmup}: there are {self.updates} updates, and the rate has "
                "to fall"
            )
        self.optimizer = torch.optim.AdamW(
            parameter_groups(
                model, options.lr, options.weight_decay, rates or {}, options.undecayed
            ),
            lr=options.lr,
            weight_decay=options.weight_decay,
        )
        drop = options.drop_after and options.drop_after * self.epoch_length
        self.schedule = rate_schedule(
            self.optimizer, options.schedule, options.warmup, self.updates, drop
        )
        self.scaler = torch.amp.GradScaler(
            processes.device.type, enabled=options.precision == "fp16"
        )
        self.update, self.epoch, self.best = 0, 0, float("-inf")
        losses = losses or model
        device_ids = [processes.device] if processes.device.type == "cuda" else None
        self.losses = (
            DistributedDataParallel(
                losses,
                device_ids=device_ids,
                find_unused_parameters=getattr(model, "learns_in_turns", False),
            )
            if processes.count > 1
            else losses
        )

    @property
    def finished(self) -> bool:
        return self.update >= self.updates

    def batches(self, episodes: Dataset) -> tqdm:
        """This process's batches of what is left of the epoch, `accumulate` of them an update.

        Which episodes make up an update depends on its size only, not on who computes them.

        Args:
            episodes: of this epoch; its `join` puts several of them into a batch.

        Returns:
            The batches under a progress bar.
        """
        updates = min(self.epoch_length, self.updates - self.update)
        counted = Subset(episodes, range(updates * self.update_size))
        processes = self.processes
        loader = DataLoader(
            counted,
            self.options.bsz,
            sampler=DistributedSampler(counted, processes.count, processes.rank, shuffle=False),
            num_workers=self.options.nworker,
            collate_fn=episodes.join,
            pin_memory=self.device.type == "cuda",
        )
        title = f"epoch {self.epoch + 1}/{math.ceil(self.updates / self.epoch_length)}"
        return tqdm(loader, title, unit="batch", disable=not self.is_main)

    def weighed(
        self, batches: Iterable[Batch], terms: Callable[[Batch], Mapping[str, float]]
    ) -> Iterator[tuple[Batch, Mapping[str, float]]]:
        """Batches of this process, each with how much its losses count within its update.

        Losses are means, but of batches that may differ: so weighed, an update's mean over its
        batches is the mean over all its terms, however they are divided.

        Args:
            terms: of how many terms each named loss of a batch is the mean; those that it does not
                name count 1.
        """
        update: list[tuple[Batch, Mapping[str, float]]] = []
        for batch in batches:
            update.append((batch, terms(batch)))
            if self.ends_update(len(update) - 1):
                own = [counts for _, counts in update]
                everyone = chain(*self.processes.gather(own)) if any(own) else own
                means = _means([*everyone])
                for batch, counts in update:
                    yield batch, {n: counts[n] / mean if mean else 1.0 for n, mean in means.items()}
                update = []

    def seeds(self, indices: Sequence[int]) -> list[tuple[int, int, int]]:
        """What the random choices of this epoch's episodes with these indices are drawn by."""
        return [(self.options.seed, self.epoch, index) for index in indices]

    def ends_update(self, number: int) -> bool:
        """Whether this batch of the process, counted from 0, is the last of its update."""
        return (number + 1) % self.options.accumulate == 0

    def synchronised(self, last: bool) -> AbstractContextManager:
        """Where a backward pass runs: processes share gradients in an update's last one only."""
        return self.losses.no_sync() if self.processes.count > 1 and not last else nullcontext()

    def autocast(self) -> AbstractContextManager:
        """Where a forward pass runs."""
        return autocast(self.device, self.options.precision)

    def clip_gradients(self) -> None:
        """Shorten an update's gradient, where that is asked for, once it is complete."""
        if self.options.clip_norm is None:
            return
        self.scaler.unscale_(self.optimizer)
        groups = self.optimizer.param_groups
        learning = [parameter for group in groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(learning, self.options.clip_norm)

    def mean(self, values: Sequence[float]) -> float:
        """The mean over all processes, which have as many values each."""
        return sum(self.processes.gather(sum(values) / len(values))) / self.processes.count

    def finish_epoch(
        self, folder: Path, weights: dict[str, Tensor], facts: dict[str, Any], score: float
    ) -> None:
        """Write `last`, `best` if the score is the best yet, and what resuming needs."""
        self.epoch += 1
        improved = score > self.best
        self.best = max(score, self.best)
        if self.processes.is_main:
            state = {
                "weights": {name: value.cpu() for name, value in weights.items()},
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": self.scaler.state_dict(),
                "update": self.update,
                "epoch": self.epoch,
                "best": self.best,
                "seed": self.options.seed,
            }
            if improved:
                save_checkpoint(folder / "best.safetensors", weights, facts)
            save_checkpoint(folder / "last.safetensors", weights, facts)
            save_training_state(folder / STATE_FILE, state)
        self.processes.wait()

    def resume(self, folder: Path) -> dict[str, Tensor]:
        """Continue where the run in this folder stopped; returns the weights to load.

        Raises:
            UsageError: its state is broken, or other weights learned in it.
        """
        state = read_training_state(folder / STATE_FILE)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError:
            raise UsageError(f"other weights learn in the run in {folder}") from None
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.update, self.epoch, self.best = state["update"], state["epoch"], state["best"]
        return state["weights"]


def _means(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in counts) / len(counts) for name in counts[0]}
