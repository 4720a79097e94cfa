import json

import pytest

from common.commands import demonstrate, run_command
from common.errors import UsageError


def test_a_command_that_fails_is_named():
    run_command("-c", "pass")
    with pytest.raises(UsageError, match="exit code 3"):
        run_command("-c", "raise SystemExit(3)")


def test_what_the_steps_found_is_written_and_shown(tmp_path):
    shown = []
    found = {"miou": 71.5}
    assert demonstrate(lambda: found, lambda *given: shown.append(given), tmp_path) == 0
    assert json.loads((tmp_path / "results.json").read_text()) == found
    assert shown == [(found, tmp_path)]


def test_a_failed_step_leaves_no_results(tmp_path, capsys):
    def steps():
        raise UsageError("train_image.py ended")

    assert demonstrate(steps, print, tmp_path) == 1
    assert "error: train_image.py ended" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
