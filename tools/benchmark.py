"""Measure speed: against the straightforward flow, and against the machine's own limit.

    python -m tools.benchmark                       # about 10 minutes on two cores
    python -m tools.benchmark --full                # networks of real size
    python -m tools.benchmark --models vit_h,sam2.1_hiera_l --full --precision bf16   # on a GPU

Everything runs in turns with what it is compared with, on the same random weights. On a CPU,
seconds are those of all cores together, which other programs disturb little; of the clock on a GPU.
The output folder gets benchmark.json, benchmark.md and benchmark.png.
"""

from dataclasses import dataclass
from pathlib import Path

from common.cli import answer_early, checked_options, option, run_script, script_parser
from common.distributed import DEVICES
from common.training_options import PRECISIONS
from model.sam.names import SAM_MODELS

KNOWN = tuple(dict.fromkeys(name for names in SAM_MODELS.values() for name in names))


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured, and how often."""

    models: str = option(
        "vit_b,sam2.1_hiera_t", "variants of SAM and SAM 2 in DC-SAM, separated by commas"
    )
    full: bool = option(False, "whole encoders; else a quarter of SAM's blocks")
    rounds: int = option(2, "how often everything is run in turns, after a first time")
    output: Path = option(Path("runs/benchmark"), "folder for the results")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    @property
    def names(self) -> list[str]:
        """The variants."""
        return self.models.split(",")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = [
            f"--models: there is no {name!r}, there are {', '.join(KNOWN)}"
            for name in self.names
            if name not in KNOWN
        ]
        if self.rounds < 1:
            found.append(f"--rounds must be at least 1, not {self.rounds}")
        return found


def parse_options() -> BenchmarkOptions:
    groups = (BenchmarkOptions,)
    (options,) = checked_options(groups, script_parser(__doc__, groups).parse_args())
    return options


answer_early(__name__, parse_options)

import platform
import sys
import time
from typing import Any

import torch

from common.checkpoint import code_version
from common.cli import to_json
from common.distributed import choose_device, peak_memory
from common.files import write_atomically
from common.logger import quiet_libraries, write_json
from tools.speed.images import measure_images
from tools.speed.measure import Machine
from tools.speed.report import Row, table, where_it_goes
from tools.speed.subjects import build_subject


def main() -> int:
    options = parse_options()
    quiet_libraries()
    start = time.time()
    machine = Machine(choose_device(options.device))
    rows: list[Row] = []
    for name in options.names:
        subject = build_subject(name, machine.device, options.full)
        rows += measure_images(subject, machine, options.rounds, options.precision)
        write(options, machine, rows, start)
    print(f"\n{table(rows)}\n\n{where_it_goes(rows)}\n\nwritten to {options.output}")
    return 0


def write(options: BenchmarkOptions, machine: Machine, rows: list[Row], start: float) -> None:
    """Write what was measured so far."""
    content = {
        "options": to_json(options),
        "machine": describe(machine),
        "version": code_version(),
        "seconds": round(time.time() - start, 1),
        "peak_memory_gib": round(peak_memory(machine.device) / 2**30, 3),
        "rows": [row.to_json() for row in rows],
    }
    write_json(options.output / "benchmark.json", content)
    text = f"{table(rows)}\n\n{where_it_goes(rows)}\n"
    write_atomically(options.output / "benchmark.md", lambda place: Path(place).write_text(text))


def describe(machine: Machine) -> dict[str, Any]:
    """The machine, and how fast it multiplies matrices."""
    name = platform.processor() or platform.machine()
    if machine.device.type == "cuda":
        name = torch.cuda.get_device_name(machine.device)
    return {
        "device": str(machine.device),
        "name": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "matrix_gflop_per_second": round(machine.rate / 1e9, 1),
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
