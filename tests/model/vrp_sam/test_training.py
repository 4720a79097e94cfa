"""`train_image.py --method vrp_sam`: references of any kind, processes, and that it learns."""

import json

import pytest

import eval_image
import train_image
from common.checkpoint import read_facts
from tests.runs import assert_it_beats_what_needs_no_training, assert_learned_the_same

METHOD = ("--method", "vrp_sam")
SHORT = ("--max_iterations", 2, "--bsz", 2, "--image_size", 64)


def test_it_trains_and_is_evaluated_on_references_of_every_kind(
    script, tiny_flags, generated, tmp_path
):
    flags = (*METHOD, *tiny_flags, "--output", tmp_path / "run", "--prompt", "multi", *SHORT)
    assert script(train_image, *flags, "--nshot", 2).code == 0

    facts = read_facts(tmp_path / "run" / "last.safetensors")
    assert (facts["method"], facts["losses"]["loss"]) == ("vrp_sam", "release")
    assert facts["training"]["weight_decay"] == 1e-6
    tested = ("--datapath", generated, "--device", "cpu", "--nworker", 0, "--test_episodes", 4)
    ckpt = ("--ckpt", tmp_path / "run" / "last.safetensors")
    for kind in ("points", "scribble", "box"):
        outcome = script(eval_image, *ckpt, *tested, "--reference_kind", kind)
        assert outcome.code == 0, outcome.error
        folder = tmp_path / "run" / f"eval_last_pascal_fold0_1shot_{kind}"
        results = json.loads((folder / "results.json").read_text())
        assert results["reference_kind"] == kind
        assert results["protocol_changes"] == ["episodes 4", f"reference_kind {kind}"]
    outcome = script(eval_image, *ckpt, *tested, "--reference_kind", "points", "--baselines")
    assert "--baselines need masks, not --reference_kind points" in outcome.error


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_global_batch(
    torchrun, tiny_flags, tmp_path
):
    flags = ["train_image.py", *METHOD, *tiny_flags, "--max_iterations", "3", "--prompt", "multi"]

    torchrun(1, *flags, "--bsz", 4, "--output", tmp_path / "one")
    torchrun(2, *flags, "--bsz", 2, "--output", tmp_path / "two")

    assert_learned_the_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_a_short_training_beats_what_needs_no_training_on_unseen_classes(script, tmp_path):
    assert_it_beats_what_needs_no_training(script, METHOD, 300, tmp_path)
