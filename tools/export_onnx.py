"""Export a model as ONNX, for programs that run without PyTorch.

    python -m tools.export_onnx --ckpt runs/image/last.safetensors --output exported
    python -m tools.export_onnx --method insid3 --size small --output exported --int8 --openvino
    python -m tools.export_onnx --method sansa --output exported --int8 --measure \\
        --benchmark coco --fold 0 --datapath Datasets

The folder gets the method's graphs and model.json, which says what goes in and what comes out:

    encode  a picture to features
    learn   the references' features and masks to a concept
    decode  features and a concept to a mask
    refine  features, a concept and a first mask to better prompt tokens (DC-SAM)

Every graph is run in onnxruntime and compared with PyTorch on random inputs. The folder appears
only when no number differs by more than 0.001; otherwise the exit code is 1. --int8 adds smaller
graphs and --openvino the same ones as OpenVINO reads them; --measure says what each runtime changes
on a benchmark.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from common.cli import answer_early, checked_options, method_parser, option, run_script
from common.errors import UsageError
from model.method_options import MethodOptions
from model.registry import READY
from tools.export.measured_data import MeasuredData

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and where to."""

    ckpt: Path | None = option(None, "checkpoint to export; or give --method")
    output: Path | None = option(None, "folder to make (required)")
    int8: bool = option(False, "also graphs whose products with weights are of 8 bits")
    openvino: bool = option(False, "also the graphs as OpenVINO reads them")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.output is None:
            found.append("--output is required: the folder to make")
        elif self.output.exists() and not _is_empty_folder(self.output):
            found.append(f"--output: {self.output} is there already; name a new folder")
        packages = (*PACKAGES, *(["openvino"] if self.openvino else []))
        missing = [name for name in packages if find_spec(name) is None]
        if missing:
            found.append(
                f"the export needs {', '.join(missing)}: uv pip install -r requirements-export.txt"
            )
        return found


def parse_options() -> tuple[ExportOptions, MeasuredData, MethodOptions | None]:
    parser, groups = method_parser(__doc__, (ExportOptions, MeasuredData), READY)
    options, data, *named = checked_options(groups, parser.parse_args())
    if bool(options.ckpt) == bool(named):
        raise UsageError("give --ckpt, the checkpoint to export, or --method")
    return options, data, named[0] if named else None


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


answer_early(__name__, parse_options)

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from tqdm import tqdm

from common.distributed import choose_device
from common.files import temporary_beside
from common.logger import quiet_libraries, write_json
from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.checkpoint import build_method, entry_of, load_method
from model.export_step import ExportStep
from model.method import Method
from tools.export.graphs import largest_difference, write_graph, write_int8, write_openvino
from tools.export.measure import PYTORCH, markdown, measure
from tools.export.runtimes import Graph, OnnxGraph, OpenVinoGraph
from tools.export.steps import (
    EPISODES,
    TOLERANCE,
    Example,
    Program,
    run_in_pytorch,
    steady_episodes,
)

FLOAT, INT8, OPENVINO = "ONNX float32", "ONNX int8", "OpenVINO float32"


@dataclass
class Exported:
    """Graphs that were written, by runtime and step."""

    graphs: dict[str, dict[str, Graph]] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)
    """What model.json says of each step."""
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    """The largest from PyTorch, by runtime and step."""
    opset: int = 0

    def add(self, runtime: str, name: str, graph: Graph, examples: Sequence[Example]) -> None:
        """Count a graph."""
        self.graphs.setdefault(runtime, {})[name] = graph
        difference = largest_difference(graph, examples)
        self.differences.setdefault(runtime, {})[name] = difference

    @property
    def is_equal(self) -> bool:
        """Whether all that keep float32 give what PyTorch gives; NaN is no number."""
        kept = [self.differences.get(runtime, {}) for runtime in (FLOAT, OPENVINO)]
        return all(value <= TOLERANCE for some in kept for value in some.values())

    def programs(self) -> dict[str, Program]:
        """What can be measured; a graph without int8 serves both programs."""

        def program(graphs: Mapping[str, Graph]) -> Program:
            return Program(tuple(graphs), lambda name, given: graphs[name](given))

        whole = self.graphs[FLOAT]
        return {title: program({**whole, **some}) for title, some in self.graphs.items()}


def main() -> int:
    options, data, method_options = parse_options()
    quiet_libraries()
    cpu = choose_device("cpu")
    model, facts = (
        build_method(method_options, cpu) if method_options else load_method(options.ckpt, cpu)
    )
    model.refuse_shots(data.nshot)
    entry = entry_of(facts, options.ckpt)
    if not entry.export_steps:
        raise UsageError(f"{entry.title} cannot be exported")
    if data.measure:
        data = data.completed(facts, options.ckpt or entry.title)
    side = model.image_size
    steps = {name: step(model, side) for name, step in entry.export_steps.items()}
    folder = temporary_beside(options.output)
    try:
        folder.mkdir()
        # PyTorch first: what SAM 2 computes once and keeps is then there when it is traced.
        episodes = steady_episodes(steps, side, data.nshot)
        exported = write_graphs(steps, episodes, folder, options)
        for runtime, differences in exported.differences.items():
            report = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
            print(
                f"{runtime}: largest difference from PyTorch on {EPISODES} random episodes: "
                f"{report}"
            )
        if not exported.is_equal:
            print(f"nothing is exported: more than {TOLERANCE} is no rounding", file=sys.stderr)
            return 1
        measured = measure_all(model, steps, exported, data) if data.measure else None
        if measured:
            print(markdown(measured))
        write_json(
            folder / "model.json",
            {
                "method": model.name,
                "image_size": side,
                "mean": IMAGE_MEAN,
                "std": IMAGE_STD,
                "nshot": data.nshot,
                "opset": exported.opset,
                "graphs": exported.described,
                "differences": exported.differences,
                "measured": measured,
                "checkpoint": {
                    "file": options.ckpt and options.ckpt.name,
                    "code": facts["version"],
                },
                "model": facts["model"],
            },
        )
        os.replace(folder, options.output)
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"written to {options.output}: ONNX opset {exported.opset}")
    return 0


def write_graphs(
    steps: Mapping[str, ExportStep],
    episodes: Sequence[Mapping[str, Example]],
    folder: Path,
    options: ExportOptions,
) -> Exported:
    """Write every step in all the ways that are asked for, and compare it with PyTorch."""
    exported = Exported()
    for name, step in tqdm(steps.items(), desc="graphs", leave=False):
        examples = [episode[name] for episode in episodes]
        path = folder / f"{name}.onnx"
        exported.opset = write_graph(step, examples[0], path)
        graph = OnnxGraph(path)
        exported.add(FLOAT, name, graph, examples)
        described = {"file": path.name, "inputs": graph.inputs, "outputs": graph.outputs}
        if options.int8:
            small = path.with_suffix(".int8.onnx")
            if write_int8(path, small):
                exported.add(INT8, name, OnnxGraph(small), examples)
                described["int8"] = small.name
            else:
                tqdm.write(f"{name}: no product with weights, so nothing of it is int8")
        if options.openvino:
            converted = path.with_suffix(".xml")
            write_openvino(path, converted)
            exported.add(OPENVINO, name, OpenVinoGraph(converted), examples)
            described["openvino"] = converted.name
        exported.described[name] = described
    return exported


def measure_all(
    model: Method, steps: Mapping[str, ExportStep], exported: Exported, data: MeasuredData
) -> dict[str, Any]:
    """What every runtime makes of a benchmark."""
    programs = {PYTORCH: run_in_pytorch(steps), **exported.programs()}
    return measure(model, steps, programs, data, data.test_episodes, data.seed)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
