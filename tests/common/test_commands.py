import pytest

from common.commands import CommandFailed, command_line, run_command
from common.files import ROOT


def test_a_command_that_fails_is_named(capfd: pytest.CaptureFixture[str]):
    run_command("-c", "import os; print(os.getcwd())")
    assert capfd.readouterr().out == f"\n$ python -c 'import os; print(os.getcwd())'\n{ROOT}\n"
    with pytest.raises(CommandFailed, match=r"exit code 3 of: python -c 'raise SystemExit\(3\)'"):
        run_command("-c", "raise SystemExit(3)")


def test_several_processes_are_launched_by_torchrun():
    line = command_line("train_image.py", "--lr", 1, processes=4)
    assert line == "torchrun --standalone --nproc_per_node=4 train_image.py --lr 1"
