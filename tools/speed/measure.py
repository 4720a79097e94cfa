"""What a piece of work costs: seconds in turns with others, operations, and where the time goes."""

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from tqdm import tqdm

from common.distributed import bound_by_cache, synchronize

Work = Callable[[], Any]

SIDES = (1024, 2048)
"""Of the square matrices that are multiplied for the machine's rate."""

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear"),
    "convolutions": ("convolution", "conv2d", "conv_dilated"),
    "attention kernels": ("scaled_dot_product",),
    "copies": ("copy_", "cat", "clone", "contiguous", "fill_", "index"),
    "elementwise": ("add", "mul", "div", "sub", "gelu", "relu", "clamp", "sigmoid", "exp", "where"),
    "norms and sums": ("norm", "softmax", "sum", "mean", "max", "min"),
    "resizing": ("upsample", "pool", "interpolate"),
}
"""Kind of work -> beginnings or parts of the names of PyTorch's operations, first match counts."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one run: medians over rounds."""

    seconds: float
    """What is compared: of all processor cores together on a CPU, which other programs disturb
    little; of the clock on a GPU."""
    wall: float
    """Of the clock."""


@dataclass
class Measured:
    """Something that was run several times."""

    cost: Cost
    operations: float
    """Floating-point operations of one run; a multiply-add counts as 2."""
    kinds: dict[str, float]
    """Kind of work -> share of the time of one run."""
    result: Any = field(repr=False)
    """What its first run returned."""


class Machine:
    """The device on which everything is measured, and how fast it multiplies matrices."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rate = 0.0
        """Floating-point operations per second (see `Cost.seconds`) at best, float32."""

    def seconds(self) -> float:
        """A clock for `Cost.seconds`."""
        synchronize(self.device)
        return time.process_time() if bound_by_cache(self.device) else time.perf_counter()

    def multiply(self, repeats: int = 4) -> None:
        """Measure the rate once more; the best counts."""
        for side in SIDES:
            matrix = torch.rand(side, side, device=self.device)
            torch.mm(matrix, matrix)
            start = self.seconds()
            for _ in range(repeats):
                torch.mm(matrix, matrix)
            spent = self.seconds() - start
            self.rate = max(self.rate, repeats * 2 * side**3 / max(spent, 1e-9))

    def time(self, work: Work) -> Cost:
        """Of one run."""
        wall, start = time.perf_counter(), self.seconds()
        work()
        return Cost(self.seconds() - start, time.perf_counter() - wall)

    def in_turns(
        self, works: Mapping[str, Work], rounds: int, looked_into: Collection[str], title: str = ""
    ) -> dict[str, Measured]:
        """Run pieces of work one after the other, several times round.

        A first round, which warms up, counts operations and looks where the time goes; it is what
        counts where there are no others.

        Args:
            looked_into: of which of them kinds of work are told apart.
        """
        self.multiply()
        taken: dict[str, list[Cost]] = {name: [] for name in works}
        warm = {}
        for name, work in tqdm(works.items(), title, unit="part", leave=False):
            warm[name], cost = self._first_run(work, name in looked_into)
            if not rounds:
                taken[name].append(cost)
        for _ in tqdm(range(rounds), title, unit="round", leave=False):
            self.multiply()
            for name, work in works.items():
                taken[name].append(self.time(work))
        return {name: Measured(_median(taken[name]), *warm[name]) for name in works}

    def _first_run(
        self, work: Work, look_inside: bool
    ) -> tuple[tuple[float, dict[str, float], Any], Cost]:
        results: list[Any] = []
        with OperationCounter() as counter:
            inside = profile(activities=[ProfilerActivity.CPU]) if look_inside else nullcontext()
            with inside:
                cost = self.time(lambda: results.append(work()))
        kinds = shares(inside.key_averages()) if look_inside else {}
        return (counter.total, kinds, results[0]), cost

    def share_of_limit(self, measured: Measured) -> float:
        """Achieved of what the machine could do: the rate of `measured` over that of matrices."""
        return measured.operations / measured.cost.seconds / self.rate


class OperationCounter(TorchDispatchMode):
    """Counts floating-point operations by PyTorch's formulas, without a look at modules.

    PyTorch's own counter hooks into modules, which graphs of frozen weights do not survive, and has
    no formula for the attention kernel of CPUs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry and packet not in _CPU_ATTENTION:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:  # it was made of others, which were counted
                return parts
        result = func(*args, **kwargs)
        if packet in _CPU_ATTENTION:
            self.total += _CPU_ATTENTION[packet](*(tensor.shape for tensor in args[:4]))
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **kwargs, out_val=result)
        return result


_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop_count,
}
"""Operation -> from the shapes of its first arguments, how many it makes."""


def shares(events: Any) -> dict[str, float]:
    """Of a profile's own times by kind of work, the largest first; what has none is "the rest"."""
    spent: dict[str, float] = {}
    for event in events:
        kind = kind_of(event.key)
        spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(spent.values()) or 1.0
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {kind: round(value / total, 4) for kind, value in ordered}


def kind_of(operation: str) -> str:
    """The kind of an operation such as `aten::addmm`."""
    name = operation.rpartition("::")[2]
    for kind, parts in KINDS.items():
        exact = kind in ("matrix products", "elementwise")
        if any(name.strip("_") == part if exact else part in name for part in parts):
            return kind
    return "the rest"


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.wall for cost in costs),
    )
