import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import eval_image
import eval_instance
import eval_semantic
import eval_video
import train_image
import train_video
from reproduction.steps import (
    Settings,
    Step,
    evaluation_step,
    is_possible,
    steps_of,
    training_steps,
)
from reproduction.tables import BY_NAME, TABLES

SCRIPTS = {
    f"{module.__name__}.py": module
    for module in (
        *(train_image, train_video),
        *(eval_image, eval_instance, eval_semantic, eval_video),
    )
}
ROWS = [
    pytest.param(row, id=f"{t.name}-{row.name}-{row.benchmark}-{row.shots}")
    for t in TABLES
    for row in t.rows
    if not row.missing
]
TRAINED = list({p.values[0].training.name: p for p in ROWS if p.values[0].training}.values())
"""A row of each training."""
RESNET50 = BY_NAME["table3"].rows[3]


def parsed(script: ModuleType) -> list[object]:
    """The options that a script reads from the command line."""
    found = script.parse_options()
    if isinstance(found[0], list):  # of evaluations of a method
        groups, method = found
        return [*groups, method]
    return list(found)


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Let a step's own script read its flags; files that earlier steps would write are there."""

    def run(step: Step) -> dict[str, object]:
        words = step.words
        for flag, path in pairwise(words):
            if flag == "--first_frame" and path != "oracle":
                Path(path).mkdir(parents=True, exist_ok=True)
            if flag in ("--ckpt", "--sam2_checkpoint"):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).touch()
        monkeypatch.setattr(sys, "argv", list(words))
        given = [group for group in parsed(SCRIPTS[words[0]]) if group is not None]
        return {name: value for group in given for name, value in vars(group).items()}

    (tmp_path / "data").mkdir()
    return run


def settings(folder: Path, **changes: object) -> Settings:
    given = {"work": folder, "datapath": folder / "data", "folds": (2,), "seeds": (1,)}
    return Settings(**{**given, **changes})


@pytest.mark.parametrize("smoke", [False, True], ids=["paper", "smoke"])
@pytest.mark.parametrize("row", ROWS)
def test_scripts_understand_every_command(row, smoke, parse, tmp_path):
    for step in steps_of(row, settings(tmp_path, smoke=smoke)):
        if step.script[0] != "-m":
            assert parse(step)["output"] == step.folder


@pytest.mark.parametrize("row", TRAINED)
def test_scripts_take_the_hyper_parameters_of_a_recipe(row, parse, tmp_path):
    dont = {"no_negative_branch": "negative_branch", "no_sam_fusion": "segmenter_fusion"}
    dont |= {"no_cyclic": "cyclic", "no_reversion": "reversion"}
    training = row.training
    while training:
        fold = 2 if training.folds else None
        *_, step = training_steps(training, fold, settings(tmp_path))
        parsed = parse(step)
        for name, value in training.flags.items():
            if name == "method":
                continue  # it chooses which flags there are
            expected = (dont[name], False) if name in dont else (name, value)
            assert parsed[expected[0]] == expected[1]
        assert parsed["bsz"] * parsed["accumulate"] == training.batch
        training = training.start


def test_tables_have_the_papers_protocol(parse, tmp_path):
    parsed = parse(evaluation_step(RESNET50, 2, 1, settings(tmp_path)))
    assert parsed["test_episodes"] == 1000
    assert (parsed["benchmark"], parsed["fold"], parsed["seed"]) == ("pascal", 2, 1)


@pytest.mark.parametrize(
    ("gpus", "processes", "at_once", "accumulate"),
    [(1, 1, 2, 4), (2, 2, 2, 2), (3, 1, 2, 4), (4, 4, 2, 1), (8, 8, 1, 1), (16, 8, 1, 1)],
)
def test_the_batch_is_8_on_any_number_of_gpus(
    gpus, processes, at_once, accumulate, parse, tmp_path
):
    (step,) = training_steps(RESNET50.training, 0, settings(tmp_path, gpus=gpus))
    parsed = parse(step)
    assert step.processes == processes
    assert (parsed["bsz"], parsed["accumulate"]) == (at_once, accumulate)


def test_all_folds_and_seeds_are_evaluated_after_the_training_of_their_fold(tmp_path):
    found = list(steps_of(RESNET50, settings(tmp_path, folds=(0, 1), seeds=(0, 1))))
    names = [str(step.folder.relative_to(tmp_path)) for step in found]
    assert names == [
        f"{place}{fold}{seed}"
        for fold in ("fold0", "fold1")
        for place, seed in (
            ("train/pascal-resnet50/", ""),
            ("evaluate/pascal-resnet50/pascal-1shot/", "/seed0"),
            ("evaluate/pascal-resnet50/pascal-1shot/", "/seed1"),
        )
    ]


def test_given_masks_are_evaluated_once(tmp_path):
    row = BY_NAME["table13"].rows[2]
    (step,) = steps_of(row, settings(tmp_path, seeds=(0, 1, 2)))
    assert step.folder == tmp_path / "evaluate" / "original" / "lvos-1shot-given"


def test_masks_of_another_method_are_carried_on_where_they_are_there(parse, tmp_path):
    row = next(row for row in BY_NAME["table4"].rows if row.name == "hdmnet")
    given = settings(tmp_path)
    assert not is_possible(row, given)
    (step,) = steps_of(row, given)
    assert parse(step)["first_frame"] == str(tmp_path / "data" / "first_frames" / "hdmnet")
    assert is_possible(row, given)
    assert step.folder == tmp_path / "evaluate" / "original" / "icvos-1shot-given-hdmnet"


def test_sam2_carries_on_what_a_method_found(parse, tmp_path):
    rows = {row.name: row for row in BY_NAME["table4"].rows}
    (step,) = steps_of(rows["persam_f"], settings(tmp_path))
    parsed = parse(step)
    assert (parsed["sam2_cfg"], parsed["seed"], parsed["first_frame"]) == (
        *("sam2.1_hiera_l", 1, "prompt"),
    )
    assert ("--method", "persam_f") in list(pairwise(step.words))
    *_, step = steps_of(rows["vrp_sam"], settings(tmp_path))
    parsed = parse(step)
    trained = tmp_path / "train" / "vrp-sam-coco_all-resnet50" / "last.safetensors"
    assert (parsed["ckpt"], parsed["sam2_cfg"]) == (trained, "sam2.1_hiera_l")
    smoke = settings(tmp_path, smoke=True)
    for name in ("persam", "matcher", "vrp_sam"):
        *_, step = steps_of(rows[name], smoke)
        assert step.words.count("--shrunk") == 1
        assert parse(step)["shrunk"]


def test_public_weights_are_named_by_their_method(parse, tmp_path):
    row = BY_NAME["sine-images"].rows[1]
    (step,) = steps_of(row, settings(tmp_path))
    assert step.folder.parent.parent.parent == tmp_path / "evaluate" / "sine-released"
    parsed = parse(step)
    assert (parsed["benchmark"], parsed["protocol"], parsed["fold"]) == ("coco", "coco_legacy", 2)
    assert (parsed["nshot"], parsed["fit"], parsed["seen_classes"]) == (5, "squashed", True)
    assert parsed["ckpt"] is None


def test_pfenet_is_compared_as_its_own_program_does(parse, tmp_path):
    for row in BY_NAME["pfenet"].rows:
        *_, step = steps_of(row, settings(tmp_path))
        parsed = parse(step)
        assert parsed["protocol"] == f"{parsed['benchmark']}_padded"


def test_one_training_without_folds_is_tested_on_all_of_them(tmp_path):
    row = BY_NAME["sine-images"].rows[-1]
    found = list(steps_of(row, settings(tmp_path, folds=None)))
    trained = {step.folder for step in found if step.script == ("train_image.py",)}
    assert trained == {tmp_path / "train" / "sine-without-objects365"}
    tested = [step for step in found if step.script == ("eval_image.py",)]
    assert [step.folder.parent.name for step in tested] == [f"fold{fold}" for fold in range(10)]
    assert all(str(trained.copy().pop() / "last.safetensors") in step.words for step in tested)


def test_published_draws_of_objects_are_evaluated_in_one_run(parse, tmp_path):
    row = BY_NAME["sine-instances"].rows[0]
    (step,) = steps_of(row, settings(tmp_path, seeds=(0, 1, 2)))
    parsed = parse(step)
    assert (parsed["benchmark"], parsed["nshot"], parsed["seeds"]) == ("coco_novel", 1, 10)


def test_what_cannot_be_measured_has_no_commands(tmp_path):
    for row in BY_NAME["sine-lora"].rows:
        assert row.missing
        assert list(steps_of(row, settings(tmp_path))) == []


def test_parts_of_one_data_set_are_learned_and_those_of_another_tested(parse, tmp_path):
    (row,) = BY_NAME["sine-parts"].rows
    training, *others = steps_of(row, settings(tmp_path, folds=None))
    tests = [step for step in others if step.script == ("eval_image.py",)]
    published = BY_NAME["sine-images"].rows[6].training.flags["sources"]
    assert parse(training)["sources"] == f"{published},paco_part=5"
    assert [parse(test)["fold"] for test in tests] == [0, 1, 2, 3]
    for test in tests:
        parsed = parse(test)
        assert (parsed["benchmark"], parsed["nshot"]) == ("pascal_part", 1)
        assert parsed["protocol"] == "pascal_part_legacy"
        assert parsed["ckpt"] == training.folder / "last.safetensors"
    smoke = [step.words[1:3] for step in steps_of(row, settings(tmp_path, smoke=True))]
    drawings = [layout for script, layout in smoke if script == "data.synthetic"]
    assert drawings == ["pascal_part", "coco", "coco2017", "ade20k", "objects365", "paco_part"]
    masks = smoke.index(("tools.box_masks", "--root"))
    assert smoke.index(("data.synthetic", "objects365")) < masks  # made of its boxes


def test_a_smoke_run_keeps_what_is_ablated(parse, tmp_path):
    row = next(row for row in BY_NAME["table5"].rows if row.name == "two_branches")
    (step,) = training_steps(row.training, 0, settings(tmp_path, smoke=True))
    parsed = parse(step)
    assert (parsed["negative_branch"], parsed["segmenter_fusion"], parsed["cyclic"]) == (
        *(True, False, False),
    )
    (row,) = [row for row in BY_NAME["figure9"].rows if row.name == "5"]
    (step,) = training_steps(row.training, 0, settings(tmp_path, smoke=True))
    assert parse(step)["num_query"] == 5


@pytest.mark.parametrize("row", TRAINED)
def test_a_smoke_run_keeps_the_model_of_its_row(row, parse, tmp_path):
    training = row.training
    while training:
        fold = 2 if training.folds else None
        *_, step = training_steps(training, fold, settings(tmp_path, smoke=True))
        parsed = parse(step)
        for name in ("backbone", "sam_version", "sam_model", "image_size", "position", "fusion"):
            if name in training.flags:
                assert parsed[name] == training.flags[name]
        assert parsed["shrunk"] == (training.start is None)
        training = training.start


def test_further_flags_win_and_have_their_own_folder(parse, tmp_path):
    more = settings(tmp_path, train_flags=("--wiring", "release", "--bsz", "1"))
    (step,) = training_steps(RESNET50.training, 0, more)
    parsed = parse(step)
    assert (parsed["wiring"], parsed["bsz"]) == ("release", 1)
    assert step.folder.parent.name == "pascal-resnet50-wiring-release-bsz-1"
    tested = evaluation_step(RESNET50, 0, 0, more).words
    assert str(step.folder / "last.safetensors") in tested
