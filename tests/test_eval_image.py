import json
import shutil

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file

import eval_image
from common.checkpoint import read_facts, save_checkpoint
from data.synthetic.image_sets import write_voc
from tests.helpers import save_tiny_checkpoint


@pytest.fixture
def flags(trained, generated):
    """Flags of a short evaluation."""
    return (
        *("--ckpt", trained, "--datapath", generated, "--test_episodes", 9),
        *("--nworker", 0, "--device", "cpu", "--sheet_rows", 2),
    )


def test_an_evaluation_writes_results_episodes_and_a_sheet(script, flags, tmp_path):
    outcome = script(eval_image, *flags, "--baselines", "--output", tmp_path)

    assert outcome.code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["episodes"] == 9
    assert results["sampler"] == "image"
    assert len(results["baselines"]) == 4
    assert {"miou", "fb_iou", "per_class", "miou_original_size", "episode_hash"} <= results.keys()
    assert cv2.imread(str(tmp_path / "contact_sheet.png")).shape[2] == 3
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["0000.png", "0001.png"]
    items = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert [one["item"] for one in items] == [f"{number:05d}" for number in range(9)]
    for entry, size in (("miou", "square"), ("miou_original_size", "original_size")):
        sums = {}
        for one in items:
            inside, union = sums.get(one["class_id"], (0, 0))
            sums[one["class_id"]] = inside + one[size][0], union + one[size][1]
        mean = sum(100 * inside / union for inside, union in sums.values()) / len(sums)
        assert results[entry] == pytest.approx(mean)
        interval = results["intervals"][entry]
        assert interval["value"] == pytest.approx(mean)
        assert interval["low"] <= mean <= interval["high"]
    assert results["cost"]["seconds_per_episode"] > 0
    assert results["cost"]["peak_memory_gib"] > 0.1


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_numbers(torchrun, flags, tmp_path):
    for processes in (1, 2):
        torchrun(processes, "eval_image.py", *flags, "--output", tmp_path / str(processes))

    one, two = (json.loads((tmp_path / n / "results.json").read_text()) for n in "12")
    for result in (one, two):
        del result["seconds"], result["cost"]
    assert one == two


def test_workers_change_nothing(script, flags, tmp_path):
    results = []
    for workers in (0, 2):
        place = tmp_path / str(workers)
        assert script(eval_image, *flags, "--nworker", workers, "--output", place).code == 0
        results.append(json.loads((place / "results.json").read_text()))
        del results[-1]["seconds"], results[-1]["cost"]

    assert results[0] == results[1]


def test_episodes_from_a_file_are_evaluated_again(script, flags, tmp_path):
    file = tmp_path / "episodes.jsonl"
    first = script(eval_image, *flags, "--episodes", file, "--output", tmp_path / "a")
    second = script(eval_image, *flags, "--episodes", file, "--seed", 7, "--output", tmp_path / "b")

    assert first.code == second.code == 0
    a, b = (json.loads((tmp_path / n / "results.json").read_text()) for n in "ab")
    assert a["episode_hash"] == b["episode_hash"]
    assert a["miou"] == b["miou"]


def test_episodes_of_another_fold_are_refused(script, flags, tmp_path):
    file = tmp_path / "episodes.jsonl"
    assert script(eval_image, *flags, "--episodes", file, "--output", tmp_path / "a").code == 0

    outcome = script(eval_image, *flags, "--episodes", file, "--fold", 1, "--seen_classes")

    assert outcome.code == 2
    assert "fold" in outcome.error


def test_an_episode_file_keeps_its_own_seed_and_sampler(script, flags, tmp_path):
    file = tmp_path / "episodes.jsonl"
    chosen = ("--episodes", file, "--seed", 5, "--sampler", "class", "--output", tmp_path / "a")
    drawn = script(eval_image, *flags, *chosen)
    assert drawn.code == 0, drawn.error
    assert script(eval_image, *flags, "--episodes", file, "--output", tmp_path / "b").code == 0
    results = [json.loads((tmp_path / n / "results.json").read_text()) for n in "ab"]
    assert [(r["seed"], r["sampler"]) for r in results] == [(5, "class"), (5, "class")]


def test_a_published_list_is_tested_and_written_down(script, flags, tmp_path):
    own = tmp_path / "own.jsonl"
    assert script(eval_image, *flags, "--episodes", own, "--output", tmp_path / "a").code == 0
    drawn = [json.loads(line) for line in own.read_text().splitlines()[1:]]
    words = [f"{query}.jpg {support[0]}.jpg {class_id - 1}" for class_id, query, support in drawn]
    listed = tmp_path / "fold0.txt"
    listed.write_text("\n".join(words))  # classes are counted from 0

    outcome = script(eval_image, *flags, "--episodes", listed, "--output", tmp_path / "b")
    assert outcome.code == 0, outcome.error
    assert "9 episodes, classes counted from 0" in outcome.output
    a, b = (json.loads((tmp_path / n / "results.json").read_text()) for n in "ab")
    assert a["episode_hash"] == b["episode_hash"]
    assert a["per_class"] == b["per_class"]
    assert b["protocol_changes"] == ["sampler list fold0.txt", "episodes 9"]
    assert listed.read_text() == "\n".join(words)
    again = ("--episodes", tmp_path / "b" / "episodes.jsonl", "--output", tmp_path / "c")
    assert script(eval_image, *flags, *again).code == 0

    listed.write_text(f"{words[0]}\nnowhere.jpg {words[1].partition(' ')[2]}")
    refused = script(eval_image, *flags, "--episodes", listed, "--output", tmp_path / "d")
    assert refused.code == 2
    assert "fold0.txt, line 2: unknown picture nowhere.jpg" in refused.error


def test_a_method_says_which_references_it_cannot_read(script, flags, tmp_path):
    outcome = script(eval_image, *flags, "--reference_kind", "points", "--output", tmp_path / "a")
    assert outcome.code == 2
    assert "takes no point as a reference" in outcome.error


def test_evaluations_do_not_overwrite_each_other(script, flags, trained, tmp_path):
    ckpt = tmp_path / "last.safetensors"
    shutil.copyfile(trained, ckpt)
    more = (*flags, "--ckpt", ckpt)
    assert script(eval_image, *more).code == 0
    assert script(eval_image, *more, "--nshot", 2).code == 0
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert folders == ["eval_last_pascal_fold0_1shot", "eval_last_pascal_fold0_2shot"]
    shots = [json.loads((tmp_path / n / "results.json").read_text())["shots"] for n in folders]
    assert shots == [1, 2]

    refused = script(eval_image, *more, "--seed", 1)
    assert refused.code == 2
    assert "other settings (seed, episode_hash)" in refused.error
    results = json.loads((tmp_path / folders[0] / "results.json").read_text())
    assert results["seed"] == 0
    assert script(eval_image, *more).code == 0  # the same again


def test_a_checkpoint_of_another_configuration_is_refused(script, flags, trained, tmp_path):
    facts = read_facts(trained)
    facts["model"]["num_query"] = 3
    save_checkpoint(tmp_path / "other.safetensors", load_file(trained), facts)

    outcome = script(eval_image, *flags, "--ckpt", tmp_path / "other.safetensors")

    assert outcome.code == 2
    assert "of another shape: generator." in outcome.error


def test_more_shots_than_a_checkpoint_takes_are_refused(script, generated, tmp_path):
    checkpoint = save_tiny_checkpoint(tmp_path / "release.safetensors", wiring="release")
    data = ("--datapath", generated, "--benchmark", "pascal", "--fold", 0, "--device", "cpu")

    outcome = script(eval_image, "--ckpt", checkpoint, *data, "--nshot", 5)

    assert outcome.code == 2
    assert "takes 1 reference at most, not 5" in outcome.error


@pytest.mark.parametrize("content", [b"", b"not safetensors at all" * 10])
def test_a_file_that_is_no_checkpoint_is_refused(script, flags, tmp_path, content):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)

    outcome = script(eval_image, *flags, "--ckpt", path)

    assert outcome.code == 2
    assert "broken.safetensors" in outcome.error
    assert len(outcome.error.strip().splitlines()) == 1


@pytest.mark.parametrize("damage", ["missing image", "missing mask", "corrupt image", "sizes"])
@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_data_is_named(script, flags, tmp_path, damage, workers):
    root = tmp_path / "VOC2012"
    write_voc(root, {"train": 20, "val": 30}, seed=1, workers=0)
    name = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[0]
    image = root / "JPEGImages" / f"{name}.jpg"
    mask = root / "SegmentationClassAug" / f"{name}.png"
    if damage == "missing image":
        image.unlink()
    elif damage == "missing mask":
        mask.unlink()
    elif damage == "corrupt image":
        image.write_bytes(image.read_bytes()[:300])
    else:
        cv2.imwrite(str(image), np.zeros((60, 128, 3), np.uint8))

    outcome = script(
        eval_image,
        *flags,
        *("--datapath", tmp_path, "--test_episodes", 60, "--nworker", workers),
        *("--output", tmp_path / "out"),
    )

    assert outcome.code == 2
    assert name in outcome.error
    assert "Traceback" not in outcome.error
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_folder_in_another_layout_is_explained(script, flags, tmp_path):
    (tmp_path / "VOC2012").mkdir()

    outcome = script(eval_image, *flags, "--datapath", tmp_path)

    assert outcome.code == 2
    assert "tools.prepare" in outcome.error
