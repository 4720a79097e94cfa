"""What every training run has around its step: optimiser, schedule, precision, resuming."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from common.distributed import Processes
from common.errors import AGAIN, Failure, UsageError
from common.files import BROKEN
from common.optimizer import build_optimizer, parameter_groups, rate_schedule
from common.setbacks import Setbacks
from common.stopping import StopSignal, outlive_stop_signal
from common.training_options import PRECISIONS, STATE_FILE, TrainingOptions
from common.unreadable import Tolerant, drawn_instead

Batch = TypeVar("Batch")


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context in which a forward pass runs."""
    kind = PRECISIONS[precision]
    return nullcontext() if kind is None else torch.autocast(device.type, getattr(torch, kind))


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
        stop: StopSignal | None = None,
    ) -> None:
        """What of the model requires gradients learns.

        Args:
            losses: what is called to compute the losses, made of the model's own weights
                (default: the model).
            rates: the learning rate of parameters whose names start so, as a part of `options.lr`.
            stop: where a scheduler's wish to stop shows.

        Raises:
            UsageError: an epoch has fewer episodes than an update takes, so many processes cannot
                share an update, or the rate would rise in all updates.
        """
        options = options.shared_by(processes.count)
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
        speed = (options.lr, options.weight_decay)
        groups = parameter_groups(model, *speed, rates or {}, options.undecayed)
        self.optimizer = build_optimizer(options.optimizer, groups, *speed)
        drop = options.drop_after and options.drop_after * self.epoch_length
        self.schedule = rate_schedule(
            self.optimizer, options.schedule, options.warmup, self.updates, drop
        )
        self.scaler = torch.amp.GradScaler(
            processes.device.type, enabled=options.precision == "fp16"
        )
        self.update, self.epoch, self.best = 0, 0, float("-inf")
        self.setbacks = Setbacks(processes)
        self.stopped = False
        """Whether a scheduler asked to stop, and all processes ended after the same update."""
        self._stop = stop or StopSignal()
        self._epoch_losses: list[float] = []
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

        Which episodes make up an update depends on its size only, not on who computes them. Where
        a scheduler asks to stop, they end after an update and `stopped` says so.

        Args:
            episodes: of this epoch; its `join` puts several of them into a batch.

        Returns:
            The batches under a progress bar.
        """
        first = self.update - self.epoch * self.epoch_length
        last = min(self.epoch_length, self.updates - self.epoch * self.epoch_length)
        if self.options.skip_bad:
            drawn = drawn_instead(self.options.seed, self.epoch, len(episodes))
            episodes = Tolerant(episodes, drawn)
        left = Subset(episodes, range(first * self.update_size, last * self.update_size))
        processes = self.processes
        loader = DataLoader(
            left,
            self.options.bsz,
            sampler=DistributedSampler(left, processes.count, processes.rank, shuffle=False),
            num_workers=self.options.nworker,
            collate_fn=episodes.join,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=outlive_stop_signal,
        )
        title = f"epoch {self.epoch + 1}/{math.ceil(self.updates / self.epoch_length)}"
        return tqdm(
            self._until_stopped(loader),
            *(title, len(loader)),
            unit="batch",
            disable=not self.is_main,
        )

    def _until_stopped(self, loader: DataLoader) -> Iterator[Any]:
        """Batches until the scheduler asks to stop, or the epoch ends; always whole updates."""
        for number, batch in enumerate(loader):
            if number % self.options.accumulate == 0 and self._is_stopped():
                return
            if self.options.skip_bad:
                batch, lines = batch
                self.setbacks.name_unreadable(lines)
            yield batch
        self._is_stopped()  # validation may take longer than a scheduler waits

    def _is_stopped(self) -> bool:
        self.stopped = self.processes.any(self._stop.asked)
        return self.stopped

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

    def may_update(self) -> bool:
        """Whether all losses of this update, everybody's, are numbers; else it is left out.

        With fp16 the scaler itself leaves it out, and lowers its factor.

        Raises:
            Failure: so many updates in a row were spoilt that nothing will be learned any more.
        """
        return not self.setbacks.spoil(self.update + 1) or self.scaler.is_enabled()

    def mean(self, losses: Sequence[float]) -> float:
        """The mean of the epoch's losses so far that are numbers, over all processes.

        Args:
            losses: of this process's batches since the run began or went on; NaN is returned
                where it was asked to stop before the first.

        Raises:
            Failure: none is a number.
        """
        numbers = [one for one in losses if math.isfinite(one)]
        self._epoch_losses += chain(*self.processes.gather(numbers))
        if not self._epoch_losses:
            if self.stopped:
                return math.nan
            raise Failure(f"no loss of epoch {self.epoch + 1} was a number")
        # rounded once, so that neither processes nor a stop in the middle show
        return math.fsum(self._epoch_losses) / len(self._epoch_losses)

    def finish_epoch(
        self, folder: Path, weights: dict[str, Tensor], facts: dict[str, Any], score: float
    ) -> None:
        """Write `last`, `best` if the score is the best yet, and what resuming needs."""
        self.epoch += 1
        self._epoch_losses = []
        improved = score > self.best
        self.best = max(score, self.best)
        if self.processes.is_main:
            if improved:
                save_checkpoint(folder / "best.safetensors", weights, facts)
            save_checkpoint(folder / "last.safetensors", weights, facts)
            save_training_state(folder / STATE_FILE, self._state(weights))
        self.processes.wait()

    def leave(self, folder: Path, weights: dict[str, Tensor]) -> int:
        """Write what resuming needs in the middle of an epoch; returns the script's exit code."""
        if self.processes.is_main:
            save_training_state(folder / STATE_FILE, self._state(weights))
            print(
                f"stopped by SIGTERM after update {self.update} of {self.updates}; --resume "
                f"continues from {folder / STATE_FILE}"
            )
        self.processes.wait()
        return AGAIN

    def _state(self, weights: dict[str, Tensor]) -> dict[str, Any]:
        return {
            "weights": {name: value.cpu() for name, value in weights.items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "update": self.update,
            "epoch": self.epoch,
            "epoch_losses": self._epoch_losses,
            "best": self.best,
            "skipped": self.setbacks.skipped,
            "seed": self.options.seed,
        }

    def resume(self, folder: Path) -> dict[str, Tensor]:
        """Continue where the run in this folder stopped; returns the weights to load.

        Raises:
            UsageError: its state is broken, or other weights learned in it.
        """
        state = read_training_state(folder / STATE_FILE)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except BROKEN:
            raise UsageError(f"other weights learn in the run in {folder}") from None
        try:
            if state["schedule"].keys() != self.schedule.state_dict().keys():
                raise ValueError("another schedule")
            self.schedule.load_state_dict(state["schedule"])
            self.scaler.load_state_dict(state["scaler"])
        except (*BROKEN, RuntimeError):  # the last where another precision had no scaler
            raise UsageError(f"{folder / STATE_FILE} is no state of such a training") from None
        self.update, self.epoch, self.best = state["update"], state["epoch"], state["best"]
        self._epoch_losses = state.get("epoch_losses", [])
        self.setbacks.skipped = state.get("skipped", 0)
        return state["weights"]


def _means(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in counts) / len(counts) for name in counts[0]}
