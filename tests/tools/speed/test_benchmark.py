"""The benchmark on the tiny networks: both flows say the same, and the files are there."""

import json

import pytest
import torch

from model.sam.sam1 import FusedAttention
from model.sam.variants import TINY_WEIGHTS, build_segmenter
from tools import benchmark
from tools.speed import labelling, measure
from tools.speed.measure import Machine
from tools.speed.report import Row
from tools.speed.straightforward import explicit_attention
from tools.speed.subjects import build_subject
from tools.speed.videos import measure_videos, memory_over_length

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch):
    monkeypatch.setattr(measure, "SIDES", (64,))


def test_both_flows_say_the_same_of_images_and_everything_is_written(script, tmp_path):
    flags = ("--models", "tiny", "--parts", "images,training", "--rounds", 0, "--device", "cpu")
    outcome = script(benchmark, *flags, "--output", tmp_path)

    assert outcome.code == 0, outcome.error
    assert "| tiny | episode, cold |" in outcome.output
    found = json.loads((tmp_path / "benchmark.json").read_text())
    rows = {row["part"]: row for row in found["rows"]}
    for part in ("episode, cold", "episode, stored features", "query, fixed reference"):
        assert rows[part]["difference"]["largest_logit_difference"] < 1e-3
        assert rows[part]["difference"]["logit_scale"] > 1e-3
        assert rows[part]["ratio"] == rows[part]["seconds"] / rows[part]["plain_seconds"]
        assert rows[part]["met"] == (rows[part]["ratio"] <= rows[part]["target"])
    encoded = rows["encode an image"]["gflop"]
    cold, stored = (rows[f"episode, {name}"]["gflop"] for name in ("cold", "stored features"))
    assert cold - stored > 2 * encoded  # query and support, also by the backbone
    assert rows["training step, stored features"]["gflop"] > stored
    assert found["machine"]["matrix_gflop_per_second"] > 0
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000
    assert "where the time goes" in (tmp_path / "benchmark.md").read_text()


def test_explicit_attention_ends_with_its_context():
    model = build_subject("tiny", CPU, True).model
    kinds = [type(module) for module in model.modules()]
    with explicit_attention(model):
        assert not any(isinstance(module, FusedAttention) for module in model.modules())
    assert [type(module) for module in model.modules()] == kinds


def test_videos_are_those_of_the_package():
    sam2 = build_segmenter(2, "tiny", TINY_WEIGHTS[2]).eval()
    one, three, beside = measure_videos(sam2, "tiny", Machine(CPU), frames=3, rounds=0)
    for row in (one, three):
        assert row.difference["changed_pixels"] < 1e-3
        assert row.difference["logit_scale"] > 1
    assert beside.ratio == three.seconds / one.seconds


def test_what_is_remembered_stops_growing():
    sam2 = build_segmenter(2, "tiny", TINY_WEIGHTS[2]).eval()
    points = [*memory_over_length(sam2, Machine(CPU), [2, 16, 18])]
    assert [point["frames"] for point in points] == [2, 16, 18]
    numbers = [point["numbers"] for point in points]
    assert numbers[0] < numbers[1] == numbers[2]


@pytest.mark.slow
def test_labelling_is_measured_beside_the_start():
    row = labelling.measure_labelling(2, "cpu")
    assert 0 < row.seconds < row.wall + 10


@pytest.mark.slow
def test_labelling_grows_with_pictures_and_processes(monkeypatch):
    monkeypatch.setattr(labelling, "PICTURES", (1, 3))
    monkeypatch.setattr(labelling, "PROCESSES", (1, 2))
    monkeypatch.setattr(labelling, "SHARED_PICTURES", 2)
    growth = labelling.labelling_growth("cpu")
    assert [point["pictures"] for point in growth["pictures"]] == [1, 3]
    assert [point["processes"] for point in growth["processes"]] == [1, 2]
    for points in growth.values():
        assert all(0.05 < point["peak_memory_gib"] < 8 < 99 * point["seconds"] for point in points)


def test_targets_are_met_or_missed():
    assert Row("a", "b", 1.0, 1.0, plain_seconds=2.0, target=0.5).met is True
    assert Row("a", "b", 1.1, 1.1, plain_seconds=2.0, target=0.5).met is False
    assert Row("a", "b", 1.0, 1.0, share_of_limit=0.69, limit_target=0.7).met is False
    assert Row("a", "b", 1.0, 1.0).met is None


def test_unknown_parts_are_told_at_once(script, tmp_path):
    flags = ("--models", "vit_x", "--parts", "sound", "--rounds", -1, "--output", tmp_path)
    outcome = script(benchmark, *flags)
    assert outcome.code == 2
    for words in ("no 'vit_x'", "no 'sound'", "--rounds cannot be negative"):
        assert words in outcome.error
