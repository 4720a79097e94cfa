"""How time and memory of a network grow with shots, classes, the batch and a video's length.

With the tiny networks: what is looked for is the shape of a curve, not its height.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from common.distributed import forget_peak, peak_memory
from model.sam.variants import TINY_WEIGHTS, build_segmenter
from tools.speed.measure import Machine
from tools.speed.subjects import build_subject
from tools.speed.videos import memory_over_length

SHOTS = (1, 2, 5, 10)
CLASSES = (1, 2, 5, 10, 20)
BATCHES = (1, 2, 4, 8, 16)
FRAMES = (10, 50, 100, 200, 400, 700, 1000)
REPEATS = 3


def measure_growth(machine: Machine, frames: Sequence[int] = FRAMES) -> dict[str, list[dict]]:
    """Quantity -> points of its curve, each with seconds of the whole and memory at most."""
    sam2 = build_segmenter(2, "tiny", TINY_WEIGHTS[2]).eval().to(machine.device)
    return {
        "shots": [*_curve(machine, "shots", SHOTS, lambda n: _episode(machine, shots=n))],
        "classes": [*_curve(machine, "classes", CLASSES, lambda n: _classes(machine, n))],
        "batch": [*_curve(machine, "batch", BATCHES, lambda n: _episode(machine, batch=n))],
        "frames": [*memory_over_length(sam2, machine, list(frames))],
    }


def _curve(
    machine: Machine,
    name: str,
    values: Sequence[int],
    build: Callable[[int], Callable[[], Any]],
) -> Iterator[dict]:
    for value in values:
        work = build(value)
        forget_peak(machine.device)
        work()
        seconds = min(machine.time(work).seconds for _ in range(REPEATS))
        memory = peak_memory(machine.device) / 2**30
        yield {name: value, "seconds": seconds, "peak_memory_gib": memory}


def _episode(machine: Machine, batch: int = 1, shots: int = 1) -> Callable[[], Any]:
    """A cold episode."""
    subject = build_subject("tiny", machine.device, True, batch, shots)
    model = subject.model

    @torch.no_grad()
    def work() -> Any:
        supports = model.encode(subject.supports.flatten(0, 1), support_only=True)
        concept = model.encode_support(supports, subject.masks)
        return model.predict(model.encode(subject.query), concept)

    return work


def _classes(machine: Machine, count: int) -> Callable[[], Any]:
    """A picture in which several known concepts are looked for."""
    subject = build_subject("tiny", machine.device, True)
    model = subject.model
    with torch.no_grad():
        features = model.encode(subject.supports.flatten(0, 1), support_only=True)
        concept = model.encode_support(features, subject.masks)

    @torch.no_grad()
    def work() -> Any:
        return model.predict_together(model.encode(subject.query), [concept] * count)

    return work
