from pathlib import Path

import pytest
import torch

from common.distributed import choose_device, forget_peak, peak_memory
from common.errors import UsageError


@pytest.mark.parametrize("wanted", ["cpu", "cpu:0", torch.device("cpu")])
def test_any_device_that_torch_names_is_taken(wanted):
    assert choose_device(wanted) == torch.device(wanted)


@pytest.mark.parametrize("wanted", ["cuda:99", "cuda:x", "toaster", "", torch.device("cuda", 99)])
def test_a_device_that_is_not_there_is_refused_in_terms_of_the_argument(wanted):
    with pytest.raises(UsageError, match=r"^device='.*': this machine has none that PyTorch"):
        choose_device(wanted)


def test_auto_is_the_cpu_where_there_is_nothing_faster(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system counts on")
def test_a_peak_of_memory_is_forgotten():
    device = torch.device("cpu")
    forget_peak(device)
    before = peak_memory(device)
    large = torch.ones(50_000_000)
    assert peak_memory(device) >= before + 190_000_000
    del large
    forget_peak(device)
    assert peak_memory(device) < before + 100_000_000
