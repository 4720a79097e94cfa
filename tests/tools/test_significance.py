"""Finished evaluations are compared by what they wrote."""

import json
from pathlib import Path

import pytest

from evaluation.item_log import ItemLog
from tools import significance


def write_images(folder: Path, inside: list[int]) -> None:
    ItemLog(folder).write(
        {
            "item": f"{number:05d}",
            "class_id": 1,
            "query": f"q{number}",
            "support": ["s"],
            "square": [0, 1, 0, 1],
            "original_size": [pixels, 10, 80, 90],
        }
        for number, pixels in enumerate(inside)
    )


def write_videos(folder: Path, scores: dict[str, float]) -> None:
    rows = [
        {"item": name, "video": name, "jf": 0, "original_size": {"jf": score, "j": 1.0}}
        for name, score in scores.items()
    ]
    ItemLog(folder).write([*rows, {"item": "broken", "error": "no frames"}])


def test_methods_on_the_same_episodes_are_told_apart(script, tmp_path):
    for seed in (0, 1):
        write_images(tmp_path / "a" / f"seed{seed}", [6, 7, 8, 9])
        write_images(tmp_path / "b" / f"seed{seed}", [5, 6, 7, 8])
    outcome = script(significance, tmp_path / "a", tmp_path / "b", "--resamples", 500)
    assert outcome.code == 0, outcome.error
    first, second, difference, how = outcome.output.splitlines()
    assert first.startswith("  75.00 [")
    assert second.startswith("  65.00 [")
    # each episode is better by one of ten pixels: whatever is drawn, the difference is 10
    assert difference == " +10.00 [ +10.00,  +10.00]  difference: more than chance"
    assert how == "95 % intervals of 500 resamples of 8 episodes or videos"
    square = script(significance, tmp_path / "a", tmp_path / "b", "--size", "square")
    assert "  +0.00 [  +0.00,   +0.00]  difference: no more than chance may be" in square.output


def test_one_folder_tells_its_deviation_over_seeds(script, tmp_path):
    for fold, seed, inside in ((0, 0, 6), (1, 0, 8), (0, 1, 7), (1, 1, 9)):
        write_images(tmp_path / "a" / f"fold{fold}" / f"seed{seed}", [inside, inside])
    outcome = script(significance, tmp_path / "a", "--resamples", 50)
    assert outcome.code == 0, outcome.error
    # seed 0: the mean of 60 and 80; seed 1: of 70 and 90; deviation 10 / sqrt(2)
    assert outcome.output.startswith("  75.00 [  75.00,   75.00] ± 7.07 over 2 seeds  ")
    assert len(outcome.output.splitlines()) == 2
    three = script(significance, *[tmp_path / "a"] * 3)
    assert "two folders can be compared, not 3" in three.error


def test_protocols_are_told_and_other_sizes_refused(script, tmp_path):
    for name, size in (("a", "512 squashed"), ("b", "original")):
        for seed in (0, 1):
            folder = tmp_path / name / f"seed{seed}"
            write_images(folder, [5, 6])
            facts = {"protocol": "coco", "protocol_changes": ["episodes 2", f"seed {seed}"]}
            facts |= {"protocol_size": size, "exposure": "strict"}
            (folder / "results.json").write_text(json.dumps(facts))
    outcome = script(significance, tmp_path / "a", tmp_path / "b", "--resamples", 50)
    assert outcome.code == 0, outcome.error
    for line, name in zip(outcome.output.splitlines(), "ab", strict=False):
        assert line.endswith(f"{tmp_path / name} (protocol coco, episodes 2, strict)")
    other = script(significance, tmp_path / "a", tmp_path / "b", "--size", "protocol")
    assert "compared at several sizes: 512 squashed, original" in other.error


def test_videos_are_compared_at_their_own_size(script, tmp_path):
    write_videos(tmp_path / "a", {"x": 70.0, "y": 50.0})
    write_videos(tmp_path / "b", {"x": 50.0, "y": 70.0})
    outcome = script(significance, tmp_path / "a", tmp_path / "b")
    # x twice: 20; both: 0; y twice: -20
    assert "  +0.00 [ -20.00,  +20.00]  difference: no more than" in outcome.output


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (None, "holds no items.jsonl"),
        ([{"item": "0"}], "holds no results of eval_image.py or eval_video.py"),
        ([{"item": "0", "error": "x", "video": "v"}], "no item has a score"),
    ],
)
def test_what_is_no_result_is_named(script, tmp_path, records, message):
    write_images(tmp_path / "a", [1])
    (tmp_path / "b").mkdir()
    if records is not None:
        text = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / "b" / "items.jsonl").write_text(text)
    outcome = script(significance, tmp_path / "a", tmp_path / "b")
    assert outcome.code == 2
    assert message in outcome.error


def test_other_episodes_or_parts_are_refused(script, tmp_path):
    write_images(tmp_path / "a", [1, 2])
    write_images(tmp_path / "b", [1, 2, 3])
    write_images(tmp_path / "c" / "seed0", [1, 2])
    other = script(significance, tmp_path / "a", tmp_path / "b")
    assert "not scored on the same" in other.error
    parts = script(significance, tmp_path / "a", tmp_path / "c")
    assert "the folders hold other parts: .; and seed0" in parts.error
