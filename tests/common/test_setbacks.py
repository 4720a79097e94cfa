"""Losses that are no number are skipped, counted and named; too many end a training."""

from dataclasses import dataclass

import pytest
import torch

from common.distributed import Processes
from common.errors import Failure
from common.setbacks import MOST_SKIPPED, Setbacks

CPU = torch.device("cpu")
NAN, NUMBER = torch.tensor(float("nan")), torch.tensor(1.5)


@dataclass(frozen=True)
class Answered(Processes):
    """One of two processes, which knows what the other one says."""

    other: tuple[str, ...]

    def any(self, value: bool) -> bool:
        return value or bool(self.other)

    def gather(self, value: list) -> list:
        return [value, list(self.other)]


@pytest.fixture
def setbacks() -> Setbacks:
    return Setbacks(Processes(0, 1, CPU))


def test_an_update_with_a_loss_that_is_no_number_is_skipped_and_counted(setbacks, capsys):
    assert setbacks.noted(NUMBER, ["a"]) == 1.5
    assert not setbacks.spoil(1)
    setbacks.noted(NAN, ["cat", "dog"])
    setbacks.noted(NUMBER, ["cow"])
    assert setbacks.spoil(1)
    assert "update 1 is skipped: the loss is no number (cat, dog)" in capsys.readouterr().err
    setbacks.noted(torch.tensor(float("inf")), ["hen"])
    assert setbacks.spoil(1)
    assert setbacks.skipped == 2
    assert setbacks.counts() == {"skipped_updates": 2}


def test_five_such_updates_in_a_row_end_the_training_with_the_names_of_its_episodes(setbacks):
    for round_ in range(3):  # never five in a row
        for _ in range(MOST_SKIPPED - 1):
            setbacks.noted(NAN, ["early"])
            assert setbacks.spoil(1)
        setbacks.noted(NUMBER, ["fine"])
        assert not setbacks.spoil(1)
        assert setbacks.skipped == (round_ + 1) * (MOST_SKIPPED - 1)
    for _ in range(MOST_SKIPPED - 1):
        setbacks.noted(NAN, ["early"])
        setbacks.spoil(1)
    setbacks.noted(NAN, [f"n{number}" for number in range(20)])
    with pytest.raises(Failure, match=r"in 5 updates in a row, the last with n0, .*n7, \.\.\.:"):
        setbacks.spoil(1)


def test_one_process_that_meets_such_a_loss_stops_all():
    setbacks = Setbacks(Answered(0, 2, CPU, ("theirs",)))
    assert setbacks.noted(NUMBER, ["mine"]) == 1.5
    assert setbacks.spoil(1)
    assert setbacks.skipped == 1
