"""A video's length does not show in the memory that it takes."""

import subprocess
import sys

import pytest

FOLLOW = """
import resource
import torch
from model.dc_sam.config import ModelOptions, build_model
from model.dc_sam.video import DcSamVideo, RunningVideo

torch.set_num_threads(1)
options = ModelOptions(
    backbone="tiny", sam_version=2, sam_model="tiny", random_weights=True, image_size=128
)
model = DcSamVideo.from_image_model(build_model(options)).eval()
generator = torch.Generator().manual_seed(0)
support, mask = torch.randn(1, 1, 3, 128, 128, generator=generator), torch.ones(1, 1, 128, 128)
with torch.no_grad():
    video = RunningVideo(model, [model.learn(support, mask)])
for number in range({frames}):
    video.step(torch.randn(1, 3, 128, 128, generator=generator))
    if number + 1 in (100, {frames}):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peaks(frames: int) -> list[int]:
    """Peak memory of a process, in kilobytes, after 100 frames and after all."""
    command = [sys.executable, "-c", FOLLOW.format(frames=frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.slow
def test_peak_memory_is_the_same_after_100_and_1000_frames():
    early, late = peaks(1000)
    assert late < 1.05 * early
