"""What every pre-training shares: its flags, its loop, and the file that it writes."""

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from common.checkpoint import write_tensors

Batch = TypeVar("Batch")
Losses = Callable[[Batch, int], tuple[Tensor, Mapping[str, Tensor]]]
"""Of a batch and the step's number: the loss, and what was reached by name, from 0 to 1."""

SAVE_EVERY = 250
"""Steps between two states of the file."""


def loader(batches: Dataset, workers: int) -> DataLoader:
    """Whole batches in order, drawn ahead by worker processes."""
    return DataLoader(batches, batch_size=None, num_workers=workers)


def train(
    learner: nn.Module,
    saved: nn.Module,
    batches: Iterable[Batch],
    losses: Losses,
    options: argparse.Namespace,
) -> None:
    """Minimise the losses of batches, one batch a step, and write weights now and then.

    Args:
        learner: all that learns.
        saved: the part of it that is written.
        options: flags of `pretraining_parser`.
    """
    optimizer = torch.optim.AdamW(learner.parameters(), lr=options.lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, options.steps, pct_start=0.05
    )
    start, recent = time.time(), {}
    progress = tqdm(batches, total=options.steps, mininterval=5)
    for step, batch in enumerate(progress):
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            loss, reached = losses(batch, step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        for name, value in reached.items():
            recent[name] = 0.98 * recent.get(name, value.item()) + 0.02 * value.item()
        shown = {name: f"{value:.3f}" for name, value in recent.items()}
        progress.set_postfix(loss=f"{loss.item():.3f}", **shown, refresh=False)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == options.steps:
            save_weights(saved, options.output, {"step": step + 1, "seed": options.seed})
    found = "".join(f", {name} {value}" for name, value in shown.items())
    print(f"{options.output}: {options.steps} steps in {time.time() - start:.0f} s{found}")


def save_weights(module: nn.Module, path: Path, facts: Mapping[str, object]) -> None:
    """Write a module's state dict as float16 safetensors with facts about its training."""
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in module.state_dict().items()
    }
    write_tensors(path, tensors, {name: str(value) for name, value in facts.items()})
