import pytest
import torch

from common.distributed import choose_device
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
