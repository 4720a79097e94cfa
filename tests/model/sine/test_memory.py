import pytest
import torch

from model.sine.decays import DECAYS
from model.sine.memory import MemoryRules, ObjectMemory, RememberedFrame
from model.sine.references import MaskedSums


def frame(number: float, score: float = 1.0, total: float = 0.0) -> RememberedFrame:
    return RememberedFrame(number, score, MaskedSums(torch.tensor([total]), torch.tensor(2.0)))


def test_scores_fade_with_age():
    expected = {
        "linear": (0.5, 0.0, 0.0),
        "ellipse": (0.8660254, 0.0, 0.0),
        "cosine": (0.8775826, 0.0, 0.0),
        "exponential": (0.6065307, 0.0, 0.0),
        "constant": (1.0, 0.0, 0.0),
    }
    for name, values in expected.items():
        found = tuple(DECAYS[name](age, 20.0) for age in (10, 20, 25))
        assert found == pytest.approx(values), name
        assert DECAYS[name](0, 20.0) == 1


def test_the_first_frame_stays_and_of_the_others_the_best():
    memory = ObjectMemory(MemoryRules(capacity=3), frame(0, 0.1))
    for number, score in enumerate((0.5, 0.9, 0.2, 0.8), start=1):
        memory.add(frame(number, score))
    assert [(one.number, one.score) for one in memory.frames] == [(0, 0.1), (2, 0.9), (4, 0.8)]


def test_old_frames_give_way_even_to_worse_ones():
    memory = ObjectMemory(MemoryRules(capacity=2), frame(0))
    memory.add(frame(1, 0.9))
    memory.add(frame(2, 0.6))
    assert memory.others[0].number == 1  # 0.9 * 0.95 is still more than 0.6
    memory.add(frame(12, 0.6))  # 0.9 * 0.45 is less
    assert memory.others[0].number == 12


def test_what_is_remembered_lies_side_by_side():
    memory = ObjectMemory(MemoryRules(), frame(0, total=6.0))
    memory.add(frame(1, total=10.0))
    torch.testing.assert_close(memory.sums().tokens(), torch.tensor([4.0]))
