"""The method that an evaluation tests, and where its results go."""

from pathlib import Path

import pytest

from common.errors import UsageError
from evaluation.subject_options import SubjectOptions, parse_subject


def test_results_go_beside_the_checkpoint_or_where_they_are_told():
    assert SubjectOptions(ckpt=Path("runs/a/last.safetensors")).folder("sine", "coco") == Path(
        "runs/a/eval_last_coco"
    )
    assert SubjectOptions().folder("sine", "coco") == Path("runs/eval_sine_coco")
    assert SubjectOptions(output=Path("here")).folder("sine", "coco") == Path("here")


@pytest.mark.parametrize("both", [True, False])
def test_either_a_checkpoint_or_a_method_is_tested(both, tmp_path, monkeypatch):
    checkpoint = tmp_path / "last.safetensors"
    checkpoint.touch()
    flags = ["--ckpt", str(checkpoint), "--method", "insid3"] if both else []
    monkeypatch.setattr("sys.argv", ["eval", *flags])
    with pytest.raises(UsageError, match="give --ckpt, the checkpoint to evaluate, or --method"):
        parse_subject("", (SubjectOptions,))


def test_a_named_method_comes_with_its_own_flags(monkeypatch):
    monkeypatch.setattr("sys.argv", ["eval", "--method", "sansa", "--precision", "bf16"])
    (options,), method = parse_subject("", (SubjectOptions,))
    assert options.precision == "bf16"
    assert method.method == "sansa"
