"""A video's length does not show in the memory that it takes."""

import subprocess
import sys

import pytest

SEGMENT = """
import resource
import torch
from tests.helpers import random_episodes, tiny_model

torch.set_num_threads(1)
model, (_, support, masks) = tiny_model(2), random_episodes(0, batch=1)
video = model.video([model.encode_support(model.encode(support[0]), masks)])
generator = torch.Generator().manual_seed(0)
for number in range({frames}):
    video.step(torch.randn(1, 3, 64, 64, generator=generator))
    if number + 1 in (100, {frames}):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peaks(frames: int) -> list[int]:
    """Peak memory of a process, in kilobytes, after 100 frames and after all."""
    command = [sys.executable, "-c", SEGMENT.format(frames=frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.slow
def test_peak_memory_is_the_same_after_100_and_1000_frames():
    early, late = peaks(1000)
    assert late < 1.05 * early
