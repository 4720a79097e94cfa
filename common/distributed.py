"""Devices and processes: one process on any device, or many under `torchrun`.

Nothing outside this file names a device. PyTorch is imported when one is chosen, so that who only
reads flags does not wait for it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UsageError
from common.watch import LostProcess, Watch

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Processes:
    """This process among those that work together."""

    rank: int
    count: int
    device: "torch.device"

    @property
    def is_main(self) -> bool:
        """True for the one process that writes files and speaks to the person."""
        return self.rank == 0

    def share(self, length: int) -> range:
        """Which of `length` independent pieces of work are this process's; each is somebody's."""
        return range(self.rank, length, self.count)

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, in the order of the ranks, in every process."""
        if self.count == 1:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def any(self, value: bool) -> bool:
        """Whether a value is true in any process."""
        if self.count == 1:
            return value
        import torch
        from torch import distributed

        found = torch.tensor(float(value), device=self.device)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return bool(found.item())

    def wait(self) -> None:
        """Let all processes arrive here before any goes on."""
        if self.count > 1:
            from torch import distributed

            distributed.barrier()


def choose_device(wanted: "str | torch.device" = "auto", local_rank: int = 0) -> "torch.device":
    """The device to compute on.

    Args:
        wanted: auto, or what `torch.device` takes; cuda without a number is cuda:`local_rank`.

    Raises:
        UsageError: the device that was asked for is not there.
    """
    import torch

    if wanted == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        wanted = next((name for name, available in there.items() if available), "cpu")
    try:
        device = torch.device(wanted)
        if device == torch.device("cuda"):
            device = torch.device("cuda", local_rank)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError):
        raise UsageError(f"device='{wanted}': this machine has none that PyTorch can use") from None
    return device


def synchronize(device: "torch.device") -> None:
    """Wait until a device has done all its work, so that its time can be taken."""
    if device.type != "cpu":
        import torch

        torch.accelerator.synchronize(device)


def peak_memory(device: "torch.device") -> int:
    """The most bytes that this process has used so far: of the GPU, or of the machine's memory."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    import resource  # which Windows lacks

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used


def forget_peak(device: "torch.device") -> None:
    """Let `peak_memory` count from here on; where the system cannot, it counts on."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def bound_by_cache(device: "torch.device") -> bool:
    """Whether batches that outgrow the processor's cache make a device slower, not faster."""
    return device.type == "cpu"


@contextmanager
def process_group(device: str = "auto") -> Iterator[Processes]:
    """Join the other processes, if `torchrun` (or torch.distributed.launch) started several.

    The backend is nccl on CUDA and gloo elsewhere.

    Raises:
        LostProcess: another process ended while this one waited for it; where waiting cannot be
            interrupted, this process ends with a line and the exit code `AGAIN`.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    rank = int(os.environ.get("RANK", 0))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if chosen.type == "cuda":
        import torch

        torch.cuda.set_device(chosen)
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    from torch import distributed

    backend = "nccl" if chosen.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(hours=2))
    processes = Processes(rank, count, chosen)
    try:
        with Watch(rank, count, os.environ["MASTER_ADDR"], processes.gather) as watch:
            try:
                yield processes
            except RuntimeError as error:  # a collective call, without the other one
                if watch.has_lost():
                    raise LostProcess(watch.line()) from error
                raise
    finally:
        distributed.destroy_process_group()
