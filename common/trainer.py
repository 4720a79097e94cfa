"""What every training run does around its loss: optimiser, schedule, precision, resuming."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from common.checkpoint import read_training_state, save_checkpoint, save_training_state
from common.cli import option
from common.distributed import DEVICES, Processes
from common.errors import UsageError

LossOf = Callable[[nn.Module, list[int], Any], Tensor]
"""The loss of a batch: the model to call, positions in the epoch's episodes, and the batch."""

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
STATE_FILE = "state.pt"


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained."""

    epochs: int = option(50, "passes over the training episodes")
    bsz: int = option(2, "episodes per process and step")
    accumulate: int = option(1, "steps whose gradients make one update")
    lr: float = option(1e-4, "peak learning rate of AdamW; cosine decay to zero, per update")
    weight_decay: float = option(1e-5, "of AdamW")
    max_iterations: int | None = option(None, "stop after so many updates; the decay ends there")
    nworker: int = option(2, "processes that read episodes; 0: none but this one")
    seed: int = option(0, "of weights and episodes")
    device: str = option("auto", "where to compute", DEVICES)
    precision: str = option("fp32", "of the forward pass", tuple(PRECISIONS))

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
        if self.max_iterations is not None and self.max_iterations < 1:
            found.append(f"--max_iterations must be at least 1, not {self.max_iterations}")
        return found


def autocast(device: torch.device, precision: str) -> torch.autocast | nullcontext:
    """The context in which a forward pass runs."""
    kind = PRECISIONS[precision]
    return nullcontext() if kind is None else torch.autocast(device.type, kind)


class Trainer:
    """Updates the learnable part of a model.

    An epoch is a number of updates; an update is `accumulate` batches of `bsz` in every process.
    """

    def __init__(
        self,
        model: nn.Module,
        options: TrainingOptions,
        processes: Processes,
        episodes_per_epoch: int,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """What of the model requires gradients learns.

        Args:
            rates: the learning rate of parameters whose names start so, as a part of `options.lr`.

        Raises:
            UsageError: an epoch has fewer episodes than an update takes.
        """
        self.model, self.options, self.processes = model, options, processes
        update_size = options.bsz * options.accumulate * processes.count
        self.epoch_length = episodes_per_epoch // update_size
        """Updates per epoch."""
        if not self.epoch_length:
            raise UsageError(
                f"an epoch of {episodes_per_epoch} episodes is smaller than one update of "
                f"{update_size}: lower --bsz or --accumulate"
            )
        self.updates = options.epochs * self.epoch_length
        if options.max_iterations is not None:
            self.updates = min(self.updates, options.max_iterations)
        self.optimizer = torch.optim.AdamW(
            _groups(model, options.lr, {} if rates is None else rates),
            lr=options.lr,
            weight_decay=options.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.updates)
        self.scaler = torch.amp.GradScaler(
            processes.device.type, enabled=options.precision == "fp16"
        )
        self.update, self.epoch, self.best = 0, 0, float("-inf")
        device_ids = [processes.device] if processes.device.type == "cuda" else None
        self.parallel = (
            DistributedDataParallel(model, device_ids=device_ids) if processes.count > 1 else model
        )

    @property
    def finished(self) -> bool:
        return self.update >= self.updates

    def shares(self, updates: int) -> list[list[list[int]]]:
        """This process's positions in the epoch's episodes: for each update a list of batches.

        Which episodes make up an update depends on its size only, not on who computes them.
        """
        options, processes = self.options, self.processes
        size = options.bsz * options.accumulate * processes.count
        return [
            [
                [
                    start + (batch * processes.count + processes.rank) * options.bsz + i
                    for i in range(options.bsz)
                ]
                for batch in range(options.accumulate)
            ]
            for start in range(0, updates * size, size)
        ]

    def episode_seeds(self, positions: list[int]) -> list[tuple[int, int, int]]:
        """What the random choices of this epoch's episodes at these positions are drawn by."""
        return [(self.options.seed, self.epoch, position) for position in positions]

    def train_epoch(
        self, episodes: Dataset, collate: Callable[[list[Any]], Any], loss_of: LossOf
    ) -> float:
        """Make this epoch's updates; returns the mean loss of all processes.

        Args:
            episodes: of this epoch.
            collate: puts several of them into a batch.
        """
        self.model.train()
        shares = self.shares(min(self.epoch_length, self.updates - self.update))
        loader = DataLoader(
            episodes,
            batch_sampler=[positions for update in shares for positions in update],
            num_workers=self.options.nworker,
            collate_fn=collate,
            pin_memory=self.processes.device.type == "cuda",
        )
        read = iter(loader)
        title = f"epoch {self.epoch + 1}/{math.ceil(self.updates / self.epoch_length)}"
        total = 0.0
        with tqdm(shares, title, unit="update", disable=not self.processes.is_main) as bar:
            for update in bar:
                loss = self.step([(positions, next(read)) for positions in update], loss_of)
                total += loss
                bar.set_postfix(loss=f"{loss:.3f}")
        return sum(self.processes.gather(total / len(shares))) / self.processes.count

    def step(self, batches: list[tuple[list[int], Any]], loss_of: LossOf) -> float:
        """One update from this process's share of the batches; returns their mean loss."""
        total = 0.0
        for number, (positions, batch) in enumerate(batches):
            last = number == len(batches) - 1
            waits = self.processes.count > 1 and not last
            with self.parallel.no_sync() if waits else nullcontext():
                with autocast(self.processes.device, self.options.precision):
                    loss = loss_of(self.parallel, positions, batch) / len(batches)
                self.scaler.scale(loss).backward()
            total += loss.item()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.update += 1
        return total

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
            raise UsageError(f"--resume: other weights learn in the run in {folder}") from None
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.update, self.epoch, self.best = state["update"], state["epoch"], state["best"]
        return state["weights"]


def _groups(model: nn.Module, rate: float, parts: Mapping[str, float]) -> list[dict[str, Any]]:
    """What learns, by learning rate; the first group is what `parts` does not name."""
    groups: dict[str, list[nn.Parameter]] = {"": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            prefix = next((part for part in parts if name.startswith(part)), "")
            groups.setdefault(prefix, []).append(parameter)
    return [
        {"params": parameters, "lr": rate * parts.get(prefix, 1.0)}
        for prefix, parameters in groups.items()
    ]
