"""Whoever lacks a benchmark's files is told, by any of its readers, which command helps."""

import re

import pytest
import torch

from common.distributed import Processes
from common.errors import UsageError
from data.benchmarks import open_tested
from data.classes import TESTED
from data.options import DataOptions
from data.semantic import LAYOUTS, open_semantic
from data.spair import SPair71k
from data.video_benchmarks import SPLITS, VideoDataOptions, open_video_benchmark
from tools.prepare import FOLDERS

ALONE = Processes(0, 1, torch.device("cpu"))


def of_images(name, folder):
    open_tested(DataOptions(benchmark=name, datapath=folder), ALONE)


def of_videos(name, folder):
    place = f"{name.removesuffix('16')}_path"
    open_video_benchmark(VideoDataOptions(benchmark=name, **{place: folder}), ALONE)


@pytest.mark.parametrize(
    ("read", "name"),
    [
        *((of_images, name) for name in TESTED),
        *((of_videos, name) for name in SPLITS),
        *((lambda name, folder: open_semantic(name, folder, "validation"), n) for n in LAYOUTS),
        (lambda name, folder: SPair71k(folder), "spair71k"),
    ],
)
def test_a_missing_benchmark_names_the_command_that_helps(tmp_path, read, name):
    with pytest.raises(UsageError) as refusal:
        read(name, tmp_path)
    told = str(refusal.value)
    [prepared] = re.findall(r"python -m tools\.prepare (\w+) .*says what is missing", told)
    assert prepared in FOLDERS
    assert "{}" not in told
