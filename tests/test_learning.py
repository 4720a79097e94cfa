"""DC-SAM learns."""

import pytest

from tests.runs import assert_it_beats_what_needs_no_training


@pytest.mark.slow
def test_a_short_training_beats_what_needs_no_training_on_unseen_classes(script, tmp_path):
    assert_it_beats_what_needs_no_training(script, (), 420, tmp_path)
