from pathlib import Path

import pytest

from data.video_benchmarks import VideoDataOptions


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "icvos"),
        ({"nshot": 5, "max_frames": 9}, "icvos_9_frames_5_shots"),
        ({"first_frame": "oracle"}, "icvos_oracle"),
        ({"first_frame": "masks"}, "icvos_masks"),
        ({"benchmark": "davis"}, "davis"),
        ({"benchmark": "davis16", "tested_split": "train", "void": True}, "davis16_train_void"),
        ({"benchmark": "ytvos19", "all_frames": True}, "ytvos19_all_frames"),
        ({"benchmark": "ytvos18", "first_objects": True}, "ytvos18_first_objects"),
    ],
)
def test_a_protocol_is_named_by_what_differs(options: dict, name: str):
    assert VideoDataOptions(**options).protocol == name


def test_every_benchmark_has_a_folder_and_a_split():
    for name in ("davis", "davis16"):
        assert VideoDataOptions(benchmark=name).root == Path("Datasets/DAVIS")
    assert VideoDataOptions(benchmark="ytvos18").root.name == "YouTube-VOS-2018"
    assert VideoDataOptions(benchmark="mose").split == "valid"
    assert VideoDataOptions(benchmark="lvos", tested_split="train").split == "train"
