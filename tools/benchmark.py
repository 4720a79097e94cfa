"""Measure speed: against the straightforward flow, and against the machine's own limit.

    python -m tools.benchmark                       # whole flow, encoders cut down
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

PARTS = ("images", "training", "video", "labelling", "growth")
KNOWN = tuple(dict.fromkeys(name for names in SAM_MODELS.values() for name in names))


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured, and how often."""

    models: str = option(
        "vit_b,sam2.1_hiera_t", "variants of SAM and SAM 2 in DC-SAM, separated by commas"
    )
    parts: str = option(",".join(PARTS), "what is measured, separated by commas")
    full: bool = option(False, "whole encoders; else a quarter of SAM's blocks, and short videos")
    rounds: int = option(
        2, "how often everything is run in turns after a first time; 0: the first one counts"
    )
    compile: bool = option(False, "compile ours: what encodes images")
    frames: int | None = option(None, "frames of a video (default: 3, with --full 12)")
    pictures: int = option(20, "pictures that are labelled")
    output: Path = option(Path("runs/benchmark"), "folder for the results")
    device: str = option("auto", "device to compute on", DEVICES)
    precision: str = option("fp32", "precision of the forward pass", tuple(PRECISIONS))

    @property
    def names(self) -> list[str]:
        """The variants."""
        return self.models.split(",")

    @property
    def chosen(self) -> list[str]:
        """The parts."""
        return self.parts.split(",")

    @property
    def length(self) -> int:
        """Frames of a video."""
        return self.frames or (12 if self.full else 3)

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = [
            f"--{flag}: there is no {name!r}, there are {', '.join(known)}"
            for flag, names, known in (
                ("models", self.names, KNOWN),
                ("parts", self.chosen, PARTS),
            )
            for name in names
            if name not in known
        ]
        if self.rounds < 0:
            found.append(f"--rounds cannot be negative: {self.rounds}")
        if self.pictures < 1 or self.length < 2:
            found.append("--pictures must be at least 1, --frames at least 2")
        return found


def parse_options() -> BenchmarkOptions:
    groups = (BenchmarkOptions,)
    (options,) = checked_options(groups, script_parser(__doc__, groups).parse_args())
    return options


answer_early(__name__, parse_options)

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import torch

from common.checkpoint import code_version
from common.cli import to_json
from common.distributed import choose_device, peak_memory
from common.files import write_atomically
from common.logger import quiet_libraries, write_json
from model.encoding import compile_encoders
from model.sam.sam2 import Sam2
from tools.speed.growth import FRAMES, measure_growth
from tools.speed.images import measure_images
from tools.speed.labelling import labelling_growth, measure_labelling
from tools.speed.measure import Machine
from tools.speed.report import Row, table, where_it_goes
from tools.speed.subjects import build_subject
from tools.speed.videos import measure_videos


@dataclass
class Report:
    """What was measured so far, and its files."""

    options: BenchmarkOptions
    machine: Machine
    rows: list[Row] = field(default_factory=list)
    growth: dict[str, list[dict]] = field(default_factory=dict)
    start: float = field(default_factory=time.time)

    def add(self, rows: Sequence[Row] = (), growth: Mapping[str, list[dict]] | None = None) -> None:
        """Write the files again with more in them."""
        from tools.speed.plot import draw  # matplotlib takes a second to import

        self.rows += rows
        self.growth |= growth or {}
        folder = self.options.output
        content = {
            "options": to_json(self.options),
            "machine": describe(self.machine),
            "version": code_version(),
            "seconds": round(time.time() - self.start, 1),
            "peak_memory_gib": round(peak_memory(self.machine.device) / 2**30, 3),
            "rows": [row.to_json() for row in self.rows],
            "growth": self.growth,
        }
        write_json(folder / "benchmark.json", content)
        write_atomically(folder / "benchmark.md", lambda place: Path(place).write_text(self.text()))
        draw(folder / "benchmark.png", self.rows, self.growth)

    def text(self) -> str:
        """The tables."""
        rate = f"{self.machine.rate / 1e9:.0f} GFLOP/s, matrix products, float32"
        return f"{table(self.rows)}\n\n{rate}\n\n{where_it_goes(self.rows)}\n"


def main() -> int:
    options = parse_options()
    quiet_libraries()
    machine = Machine(choose_device(options.device))
    report = Report(options, machine)
    if "growth" in options.chosen:  # first: memory that large networks had is not given back
        report.add(growth=measure_growth(machine, FRAMES if options.full else FRAMES[:4]))
        report.add(growth=labelling_growth(machine.device.type))
    for name in options.names:
        subject = build_subject(name, machine.device, options.full)
        if options.compile:
            compile_encoders(subject.model)
        for learning in (False, True):
            if ("training" if learning else "images") in options.chosen:
                given = (subject, machine, options.rounds, options.precision, learning)
                report.add(measure_images(*given))
        segmenter = subject.model.segmenter
        if "video" in options.chosen and isinstance(segmenter, Sam2):
            given = (segmenter, subject.title, machine, options.length, options.rounds)
            report.add(measure_videos(*given))
    if "labelling" in options.chosen:
        report.add([measure_labelling(options.pictures, machine.device.type)])
    print(f"\n{report.text()}\nwritten to {options.output}")
    return 0


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
