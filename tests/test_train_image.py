import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import train_image
from common.checkpoint import read_facts
from data.benchmarks import make_benchmark
from tests.runs import assert_learned_the_same

SHORT = ("--max_iterations", 2, "--bsz", 2)


def test_a_run_leaves_weights_logs_and_facts(script, tiny_flags, generated, tmp_path):
    run = tmp_path / "run"
    outcome = script(train_image, *tiny_flags, "--output", run, *SHORT)

    assert outcome.code == 0, outcome.error
    names = {"last.safetensors", "best.safetensors", "state.pt", "log.jsonl", "tensorboard"}
    assert {path.name for path in run.iterdir()} == names | {"settings.json"}
    [record] = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    assert record["update"] == 2
    assert all(name.startswith("generator.") for name in load_file(run / "last.safetensors"))

    facts = read_facts(run / "last.safetensors")
    assert (facts["method"], facts["domain"]) == ("dc_sam", "drawings")
    assert facts["metrics"] == record
    split = make_benchmark("pascal", generated, 0).training
    assert facts["data"] == {
        **{"benchmark": "pascal", "fold": 0, "nshot": 1, "sampler": None},
        **{"lists": None, "training_list": None, "fingerprint": split.fingerprint()},
    }
    for folder in (tmp_path, generated):
        assert str(folder) not in json.dumps(facts)


@pytest.mark.parametrize(
    "ablation",
    [
        ["--no_negative_branch"],
        ["--no_sam_fusion"],
        ["--no_cyclic"],
        ["--no_negative_branch", "--no_sam_fusion", "--no_cyclic"],
        ["--prior"],
        ["--nshot", "2"],
        ["--wiring", "release"],
        ["--sam_version", "2"],
    ],
    ids=" ".join,
)
def test_ablations_and_variants_train(script, tiny_flags, tmp_path, ablation):
    flags = ("--output", tmp_path, "--max_iterations", 1, "--bsz", 2, *ablation)

    assert script(train_image, *tiny_flags, *flags).code == 0
    assert all(
        value.isfinite().all() for value in load_file(tmp_path / "last.safetensors").values()
    )


def test_two_processes_learn_what_one_learns_from_the_same_global_batch(
    script, torchrun, tiny_flags, tmp_path
):
    flags = (*tiny_flags, "--max_iterations", "3")

    assert script(train_image, *flags, "--bsz", 4, "--output", tmp_path / "one").code == 0
    torchrun(2, "train_image.py", *flags, "--bsz", 2, "--output", tmp_path / "two")

    assert_learned_the_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_accumulated_batches_learn_what_one_large_batch_learns(script, tiny_flags, tmp_path):
    for name, flags in {"large": ["--bsz", 4], "small": ["--bsz", 2, "--accumulate", 2]}.items():
        given = (*flags, "--max_iterations", 2, "--output", tmp_path / name)
        assert script(train_image, *tiny_flags, *given).code == 0

    assert_learned_the_same(tmp_path / "large", tmp_path / "small")


def test_a_killed_run_resumes_to_the_same_weights(script, tiny_flags, tmp_path):
    flags = [*tiny_flags, "--bsz", "2", "--epochs", "2", "--episodes_per_epoch", "6"]
    assert script(train_image, *flags, "--output", tmp_path / "whole").code == 0

    command = [sys.executable, train_image.__file__, *flags, "--output", str(tmp_path / "killed")]
    threads = str(torch.get_num_threads())  # another number may round sums otherwise
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": threads})
    deadline = time.time() + 200
    while not (tmp_path / "killed" / "state.pt").exists() and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = torch.load(tmp_path / "killed" / "state.pt", weights_only=True)
    assert script(train_image, *flags, "--output", tmp_path / "killed", "--resume").code == 0

    assert state["epoch"] == 1
    whole = load_file(tmp_path / "whole" / "last.safetensors")
    resumed = load_file(tmp_path / "killed" / "last.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        *((("--fold", 1), "fold"), (("--lr", 0.1), "lr"), (("--epochs", 9), "epochs")),
        *((("--nshot", 2), "nshot"), (("--num_query", 4), "num_query")),
        *((("--loss", "release"), "loss"), (("--bsz", 4), "episodes_per_update")),
        (("--bsz", 1, "--accumulate", 2), ""),  # the same updates, computed in other steps
    ],
    ids=str,
)
def test_a_run_goes_on_with_its_own_settings_only(
    script, tiny_flags, trained, tmp_path, flags, named
):
    shutil.copytree(trained.parent, tmp_path / "run")
    before = trained.read_bytes()

    given = (*SHORT, *flags, "--output", tmp_path / "run", "--resume")
    outcome = script(train_image, *tiny_flags, *given)

    assert outcome.code == (2 if named else 0), outcome.error
    if named:
        assert named in re.search(r"other settings \((.*)\)", outcome.error)[1].split(", ")
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before


def test_all_conflicting_flags_are_told_at_once(script, tmp_path):
    outcome = script(
        train_image,
        *("--datapath", tmp_path / "nowhere", "--backbone", "dinov2_b", "--nshot", 11),
        *("--bsz", 0, "--sam_model", "vit_x", "--resume", "--output", tmp_path / "empty"),
    )

    assert outcome.code == 2
    for part in ("nowhere", "--prior", "--nshot", "--bsz", "vit_x", "--resume"):
        assert part in outcome.error
    assert "Traceback" not in outcome.error
    assert not (tmp_path / "empty").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(script, tiny_flags, tmp_path):
    (tmp_path / "state.pt").write_bytes(b"precious")

    outcome = script(train_image, *tiny_flags, "--output", tmp_path)

    assert outcome.code == 2
    assert "--resume" in outcome.error
    assert (tmp_path / "state.pt").read_bytes() == b"precious"


def test_missing_official_weights_are_named_with_what_gets_them(script, tiny_flags, tmp_path):
    (tmp_path / "weights").mkdir()
    given = (
        "--sam_model",
        "vit_b",
        "--weights",
        tmp_path / "weights",
        "--output",
        tmp_path / "run",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCSAM_WEIGHTS", "nowhere")
        outcome = script(train_image, *tiny_flags, *given)

    assert outcome.code == 2
    assert str(tmp_path / "weights" / "sam_vit_b_01ec64.pth") in outcome.error
    assert "python -m tools.weights fetch vit_b" in outcome.error
    assert "https://" in outcome.error


@pytest.mark.parametrize("flag", ["--local-rank", "--local_rank"])
def test_the_launchers_flag_is_tolerated(script, tiny_flags, tmp_path, flag):
    flags = (f"{flag}=0", "--max_iterations", 1, "--bsz", 2, "--output", tmp_path)

    assert script(train_image, *tiny_flags, *flags).code == 0


def test_a_training_that_diverges_ends_and_leaves_no_weights(script, tiny_flags, tmp_path):
    run = tmp_path / "run"
    outcome = script(train_image, *tiny_flags, "--output", run, "--bsz", 1, "--lr", 1e30)
    assert outcome.code == 1
    assert "failed: the loss was no number in 5 updates in a row, the last with " in outcome.error
    assert not (run / "last.safetensors").exists()
