import json
from pathlib import Path

import pytest

from common.commands import CommandFailed
from common.errors import UsageError
from reproduction.runner import command, is_finished, run
from reproduction.steps import Step

WRITE = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '.')"


def step(folder: Path, *recipe: str, program: str = WRITE, resumes: bool = False) -> Step:
    return Step(folder, ("-c", program), recipe, (str(folder / "log"),), resumes=resumes)


def test_a_finished_step_is_skipped(tmp_path, capsys):
    run([step(tmp_path / "a", "--lr", "1")])
    run([step(tmp_path / "a", "--lr", "1"), step(tmp_path / "b", "--lr", "2")])

    assert (tmp_path / "a" / "log").read_text() == "--lr 1."
    assert (tmp_path / "b" / "log").read_text() == "--lr 2."
    assert "done before" in capsys.readouterr().out


def test_steps_that_fill_one_folder_are_done_once(tmp_path):
    run([step(tmp_path / "a", "--lr", "1")] * 2)
    assert (tmp_path / "a" / "log").read_text() == "--lr 1."


def test_an_interrupted_training_goes_on(tmp_path):
    folder = tmp_path / "a"
    fails = step(folder, program="open('%s', 'w'); exit(3)" % (folder / "state.pt"), resumes=True)
    with pytest.raises(CommandFailed):
        run([fails])
    assert not is_finished(fails)

    run([step(folder, resumes=True)])

    assert (folder / "log").read_text() == "--resume."
    assert is_finished(step(folder, resumes=True))


def test_a_training_that_saved_nothing_begins_again(tmp_path):
    with pytest.raises(CommandFailed):
        run([step(tmp_path / "a", program="exit(3)", resumes=True)])
    run([step(tmp_path / "a", resumes=True)])
    assert (tmp_path / "a" / "log").read_text() == "."


def test_a_failure_names_the_command_and_keeps_what_was_done(tmp_path):
    done, failing = step(tmp_path / "a"), step(tmp_path / "b", program="exit(3)")
    with pytest.raises(CommandFailed, match=r"exit code 3 of: python -c 'exit\(3\)'"):
        run([done, failing, step(tmp_path / "c")])
    assert is_finished(done)
    assert not (tmp_path / "c").exists()


def test_a_folder_of_another_recipe_is_refused(tmp_path):
    run([step(tmp_path / "a", "--lr", "1")])
    with pytest.raises(UsageError, match="another recipe"):
        run([step(tmp_path / "a", "--lr", "2")])


def test_a_broken_record_is_named(tmp_path):
    run([step(tmp_path / "a")])
    (tmp_path / "a" / "step.json").write_text("{")
    with pytest.raises(UsageError, match=r"step\.json cannot be read"):
        run([step(tmp_path / "a")])


def test_the_record_holds_the_command(tmp_path):
    run([step(tmp_path / "a", "--lr", "1")])
    record = json.loads((tmp_path / "a" / "step.json").read_text())
    assert record["finished"]
    assert record["command"] == command(step(tmp_path / "a", "--lr", "1"))


def test_several_processes_are_launched_by_torchrun(tmp_path):
    parallel = Step(tmp_path, ("train_image.py",), ("--lr", "1"), (), processes=4)
    assert command(parallel) == "torchrun --standalone --nproc_per_node=4 train_image.py --lr 1"
