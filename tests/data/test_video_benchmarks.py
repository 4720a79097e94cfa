from pathlib import Path

from data.video_benchmarks import VideoDataOptions


def test_every_benchmark_has_a_folder_and_a_split():
    for name in ("davis", "davis16"):
        assert VideoDataOptions(benchmark=name).root == Path("Datasets/DAVIS")
    assert VideoDataOptions(benchmark="ytvos18").root.name == "YouTube-VOS-2018"
    assert VideoDataOptions(benchmark="mose").split == "valid"
    assert VideoDataOptions(benchmark="lvos", tested_split="train").split == "train"
