"""What the benchmark says it measures is what it measures."""

import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tools.speed import measure
from tools.speed.measure import Machine, OperationCounter, kind_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch):
    monkeypatch.setattr(measure, "SIDES", (64,))


def operations(work) -> float:
    with OperationCounter() as counter:
        work()
    return counter.total


@torch.no_grad()
def test_operations_are_counted_by_hand():
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    assert operations(lambda: a @ b) == 2 * 3 * 4 * 5
    assert operations(lambda: nn.Linear(4, 5)(a)) == 2 * 3 * 4 * 5
    kernel = nn.Conv2d(2, 6, 3, padding=1)
    assert operations(lambda: kernel(torch.ones(1, 2, 8, 7))) == 2 * 8 * 7 * 6 * 2 * 9
    q = torch.ones(2, 3, 16, 8)
    k = torch.ones(2, 3, 32, 8)
    attended = 2 * (2 * 3) * 16 * 32 * (8 + 8)  # scores, then the weighted sum
    assert operations(lambda: F.scaled_dot_product_attention(q, k, k)) == attended


def test_a_backward_pass_counts_two_more_products():
    weight = torch.ones(4, 5, requires_grad=True)
    given = torch.ones(3, 4, requires_grad=True)
    assert operations(lambda: (given @ weight).sum().backward()) == 3 * 2 * 3 * 4 * 5
    query, key = (torch.rand(1, 1, 16, 8, requires_grad=True) for _ in range(2))

    def attend() -> None:
        F.scaled_dot_product_attention(query, key, key).sum().backward()

    product = 2 * 16 * 16 * 8
    assert operations(attend) == (2 + 5) * product  # one of the five is made again


def test_work_is_run_in_turns_and_the_median_counts():
    machine, order = Machine(CPU), []

    def sleep(name: str, seconds: float) -> str:
        order.append(name)
        time.sleep(seconds)
        return name

    works = {"a": lambda: sleep("a", 0.02), "b": lambda: sleep("b", 0.0)}
    found = machine.in_turns(works, 2, ("a",))
    assert order == ["a", "b"] * 3
    assert found["a"].cost.wall >= 0.02
    assert found["a"].cost.seconds < 0.02  # a sleeping processor does nothing
    assert found["a"].result == "a"
    assert machine.rate > 1e8
    assert found["b"].kinds == {}
    order.clear()
    machine.in_turns(works, 0, ())
    assert order == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::mkldnn_convolution", "convolutions"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention kernels"),
        ("aten::_slow_conv2d_forward", "convolutions"),
        ("aten::copy_", "copies"),
        ("aten::gelu", "elementwise"),
        ("aten::add_", "elementwise"),
        ("aten::native_layer_norm", "norms and sums"),
        ("aten::upsample_bilinear2d", "resizing"),
        ("aten::nonzero", "the rest"),
    ],
)
def test_operations_have_kinds(name, kind):
    assert kind_of(name) == kind
