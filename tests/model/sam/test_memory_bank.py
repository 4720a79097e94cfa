import torch

from model.sam.memory_bank import PROMPTED_FRAMES, FrameMemory, MemoryBank


def memory(value: float = 0.0) -> FrameMemory:
    return FrameMemory(torch.full((2, 3), value), torch.full((2, 4, 5, 5), value))


def test_keeps_what_attention_can_reach_and_does_not_grow_once_it_is_full():
    bank = MemoryBank(window=6, pointers=15)
    assert (bank.batch, bank.numbers) == (0, 0)
    bank.add(0, memory(), prompted=True)
    assert bank.batch == 2
    sizes = []
    for index in range(1, 31):
        bank.add(index, memory(), prompted=False)
        sizes.append(bank.numbers)
    # frame 31 comes next: it attends to the memories of the 6 frames before it, and to 15 pointers
    assert list(bank.prompted) == [0]
    with_features = [index for index, one in bank.tracked.items() if one.features is not None]
    assert with_features == [25, 26, 27, 28, 29, 30]
    assert list(bank.tracked) == list(range(16, 31))
    one, pointer = 2 * 4 * 5 * 5, 2 * 3
    assert sizes[0] == 2 * (one + pointer)
    assert set(sizes[14:]) == {7 * one + 16 * pointer}


def test_only_the_latest_prompted_frames_stay():
    bank = MemoryBank(window=2, pointers=3)
    for index in range(10):
        bank.add(index, memory(), prompted=True)
    assert list(bank.prompted) == list(range(10 - PROMPTED_FRAMES, 10))


def test_rounding_leaves_the_pointer_exact():
    rounded = memory(0.3).rounded()
    assert rounded.pointer.dtype == torch.float32
    assert rounded.features.dtype == torch.bfloat16
