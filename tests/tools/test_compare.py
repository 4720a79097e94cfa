"""Methods are compared on the same episodes."""

import json

import numpy as np
import pytest
from PIL import Image

import eval_image
from common.commands import CommandFailed
from tests.helpers import save_tiny_checkpoint
from tools import compare

DATA = ("--benchmark", "pascal", "--fold", 0, "--test_episodes", 6, "--sheet_rows", 2)


@pytest.fixture
def commands(script, monkeypatch) -> list[list[str]]:
    """Commands run in this process; one whose method is `broken` fails."""
    lines: list[list[str]] = []

    def run(*words: object) -> None:
        lines.append([str(word) for word in words])
        if "broken.safetensors" in " ".join(lines[-1]) or script(eval_image, *words[1:]).code:
            raise CommandFailed("exit code 1")

    monkeypatch.setattr(compare, "run_command", run)
    return lines


def test_checkpoints_and_methods_meet_on_the_same_episodes(script, commands, generated, tmp_path):
    ours = save_tiny_checkpoint(tmp_path / "ours.safetensors")
    sansa = "sansa:sam_model=tiny,image_size=64"
    flags = (*DATA, "--datapath", generated, "--nworker", 0, "--device", "cpu")
    flags += ("--methods", ours, sansa, "--seeds", 2, "--output", tmp_path / "out")

    outcome = script(compare, *flags)

    assert outcome.code == 0, outcome.error
    results = json.loads((tmp_path / "out" / "comparison.json").read_text())
    methods = results["methods"]
    assert list(methods) == [str(ours), sansa]
    hashes = [[run["episode_hash"] for run in one["runs"]] for one in methods.values()]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 2
    assert methods[sansa]["runs"][0]["exposure"] == "strict"
    for one in methods.values():
        first, second = (run["protocol_miou"] for run in one["runs"])
        assert one["protocol_miou"]["mean"] == pytest.approx((first + second) / 2)
        # of two numbers, the deviation of a sample is their distance over the root of 2
        assert one["protocol_miou"]["deviation"] == pytest.approx(abs(first - second) / 2**0.5)
    best, other = sorted(methods, key=lambda name: -methods[name]["protocol_miou"]["mean"])
    [between] = results["differences"]
    assert (between["method"], between["other"]) == (best, other)
    distance = methods[best]["protocol_miou"]["mean"] - methods[other]["protocol_miou"]["mean"]
    assert between["value"] == pytest.approx(distance)
    assert between["low"] <= between["value"] <= between["high"]
    assert (between["resamples"], between["level"]) == (10_000, 95)
    lines = (tmp_path / "out" / "comparison.md").read_text().splitlines()
    assert lines[0] == (
        "pascal fold 0, 1-shot, protocol pascal, episodes 6, masks compared at 512 squashed, "
        "6 episodes of each seed (0, 1)"
    )
    mean, deviation = (methods[best]["protocol_miou"][name] for name in ("mean", "deviation"))
    assert lines[4].split("|")[2].strip() == f"{mean:.1f} ± {deviation:.1f}"
    assert "SANSA (sansa:sam_model=tiny,image_size=64)" in "".join(lines)
    assert lines[9].split("|")[2].strip() == f"{distance:+.1f}"
    sheet = np.asarray(Image.open(tmp_path / "out" / "comparison.png"))
    assert sheet.shape[1] > 5 * 192

    ran = len(commands)
    assert script(compare, *flags).code == 0
    assert len(commands) == ran  # what is there is not computed again
    other = script(compare, *flags, "--test_episodes", 5)
    assert other.code == 2
    assert "results on other episodes" in other.error


def test_one_that_fails_spares_the_others(script, commands, generated, tmp_path):
    (tmp_path / "broken.safetensors").touch()
    ours = save_tiny_checkpoint(tmp_path / "ours.safetensors")
    outcome = script(
        compare,
        *(*DATA, "--datapath", generated, "--nworker", 0, "--device", "cpu"),
        *("--methods", tmp_path / "broken.safetensors", ours, "--output", tmp_path / "out"),
        *("--seeds", 1),
    )
    assert outcome.code == 1
    results = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert list(results["methods"]) == [str(ours)]
    assert results["methods"][str(ours)]["protocol_miou"]["deviation"] is None
    assert results["differences"] == []


def test_what_is_no_method_is_named_before_work(script, commands, generated, tmp_path):
    flags = ("--datapath", generated, "--output", tmp_path / "out")
    outcome = script(compare, "--methods", "psychic", *flags)
    assert outcome.code == 2
    assert "psychic is no checkpoint file, and no method with public weights" in outcome.error
    assert not commands


def test_what_draws_nothing_is_evaluated_once():
    data = compare.ComparedData(protocol="perseg", benchmark="perseg")
    for kind, count in (("mask", 1), ("box", 5)):
        options = compare.ComparisonOptions(reference_kind=kind)
        assert compare.count_seeds(data, options) == count
    drawn = compare.ComparedData(protocol="permis", benchmark="permis", sampler="class")
    assert compare.count_seeds(drawn, compare.ComparisonOptions(seeds=3)) == 3
