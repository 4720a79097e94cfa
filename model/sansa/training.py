"""The dropout that is active in SAM 2's memory attention while SANSA trains.

Shapes: B episodes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from model.layers import DrawnByEpisode


class MemoryDropout(DrawnByEpisode):
    """Lets a module's own dropout work, each episode's by its own generator.

    Attention drops weights inside of a fused kernel, which draws of torch's global generator: that
    is set to the episode's seed meanwhile, so that episodes are taken one by one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seeds: list[int] = []

    def begin(self, seeds: Sequence[Sequence[int]], shots: int) -> None:
        self._seeds = [int(np.random.SeedSequence(seed).generate_state(1)[0]) for seed in seeds]

    def end(self) -> None:
        self._seeds = []

    @property
    def active(self) -> bool:
        """Whether episodes were begun, so that something is dropped."""
        return bool(self._seeds)

    @contextmanager
    def of_episode(self, row: int, module: nn.Module, device: torch.device) -> Iterator[None]:
        """Drop, in one module and on one device, what an episode of the batch drops."""
        devices = [] if device.index is None else [device.index]
        with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            torch.manual_seed(self._seeds[row])
            module.train()
            try:
                yield
            finally:
                module.eval()
