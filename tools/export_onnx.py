"""Export a checkpoint as ONNX, for programs that run without PyTorch.

    python -m tools.export_onnx --ckpt runs/image/last.safetensors --output exported

The folder gets four graphs and model.json, which says what goes in and what comes out:

    encode  a picture to features
    learn   the references' features and masks to a concept, with its first prompt tokens
    decode  features and prompt tokens to a mask
    refine  features, a concept and a first mask to better prompt tokens

Every graph is run in onnxruntime and compared with PyTorch on random inputs. The folder appears
only when no number differs by more than 0.001; otherwise the exit code is 1.
"""

import os
import shutil
import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.cli import checked_options, option, run_script, script_parser
from common.errors import UsageError
from common.files import temporary_beside
from common.logger import quiet_libraries, write_json
from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.checkpoint import load_method
from model.registry import METHODS

Values = dict[str, Tensor]
"""Named tensors that a step is given or gives."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3
"""The largest difference allowed between any number of onnxruntime's and of PyTorch's."""
EPISODES = 3
"""Random episodes on which every graph is compared."""
ATTEMPTS = 30
"""Episodes drawn at most to find so many steady ones."""
DISTURBANCE = 1e-5
"""Relative noise that the results of a steady episode survive."""


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and where to."""

    ckpt: Path | None = option(None, "checkpoint to export (required)")
    output: Path | None = option(None, "folder to make (required)")
    nshot: int = option(1, "number of references of a concept, which the graphs fix")

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        found = []
        if self.ckpt is None:
            found.append("--ckpt is required: the checkpoint to export")
        if self.output is None:
            found.append("--output is required: the folder to make")
        elif self.output.exists() and not _is_empty_folder(self.output):
            found.append(f"--output: {self.output} is there already; name a new folder")
        if self.nshot < 1:
            found.append(f"--nshot must be at least 1, not {self.nshot}")
        missing = [name for name in PACKAGES if find_spec(name) is None]
        if missing:
            found.append(
                f"the export needs {', '.join(missing)}: uv pip install -r requirements-export.txt"
            )
        return found


class Example(NamedTuple):
    """What a graph is given, and what PyTorch makes of it."""

    given: Values
    expected: Values


def main() -> int:
    options = parse_options()
    quiet_libraries()
    model, facts = load_method(options.ckpt, torch.device("cpu"))
    model.refuse_shots(options.nshot)
    side = model.image_size
    graphs = {name: step(model, side) for name, step in METHODS[model.name].export_steps.items()}
    if not graphs:
        raise UsageError(f"{model.name} cannot be exported yet")
    folder = temporary_beside(options.output)
    try:
        folder.mkdir()
        # PyTorch first: what SAM 2 computes once and keeps is then there when it is traced.
        episodes = steady_episodes(graphs, options.nshot)
        described, differences = {}, {}
        for name, graph in tqdm(graphs.items(), desc="graphs", leave=False):
            examples = [episode[name] for episode in episodes]
            opset = write_graph(graph, examples[0], folder / f"{name}.onnx")
            described[name], differences[name] = compare(folder / f"{name}.onnx", examples)
        report = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        print(f"largest difference from PyTorch on {EPISODES} random episodes: {report}")
        if not max(differences.values()) <= TOLERANCE:
            print(f"nothing is exported: more than {TOLERANCE} is no rounding", file=sys.stderr)
            return 1
        write_json(
            folder / "model.json",
            {
                "image_size": side,
                "mean": IMAGE_MEAN,
                "std": IMAGE_STD,
                "nshot": options.nshot,
                "opset": opset,
                "graphs": described,
                "differences": differences,
                "checkpoint": {"file": options.ckpt.name, "code": facts["version"]},
                "model": facts["model"],
            },
        )
        os.replace(folder, options.output)
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"written to {options.output}: ONNX opset {opset}")
    return 0


def parse_options() -> ExportOptions:
    parser = script_parser(__doc__, (ExportOptions,))
    return checked_options((ExportOptions,), parser.parse_args())[0]


@torch.no_grad()
def steady_episodes(graphs: dict[str, nn.Module], shots: int) -> list[dict[str, Example]]:
    """Random episodes with what every graph is given and gives.

    The method decides: which token attends to which, which pixel is in the mask. Where a decision
    is so close that rounding may turn it, PyTorch and onnxruntime may differ without a fault in
    either. So an episode counts only if PyTorch's own results stay when all it is given is
    disturbed a little.
    """
    found = []
    for seed in range(ATTEMPTS):
        generator = torch.Generator().manual_seed(seed)
        episode = random_episode(graphs, shots, generator)
        if all(is_steady(graph, episode[name], generator) for name, graph in graphs.items()):
            found.append(episode)
        if len(found) == EPISODES:
            return found
    raise UsageError(
        f"{ATTEMPTS} random episodes have only {len(found)} on which rounding decides nothing: "
        "this checkpoint cannot be compared with its export"
    )


def random_episode(
    graphs: dict[str, nn.Module], shots: int, generator: torch.Generator
) -> dict[str, Example]:
    """Noise for pictures and rectangles for masks, taken through all steps."""
    side = graphs["encode"].side
    *references, query = torch.randn(shots + 1, 1, 3, side, side, generator=generator)
    masks = torch.zeros(shots, side, side)
    for mask in masks:
        top, left, height, width = torch.randint(side // 8, side // 2, (4,), generator=generator)
        mask[top : top + height, left : left + width] = 1

    def step(name: str, given: Values) -> Values:
        episode[name] = Example(given, graphs[name](given))
        return episode[name].expected

    episode: dict[str, Example] = {}
    shown = [step("encode", {"image": image}) for image in references]
    support = {name: torch.cat([one[name] for one in shown]) for name in shown[0]}
    concept = step("learn", support | {"masks": masks}) | {"masks": masks}
    seen = step("encode", {"image": query})
    first = step("decode", seen | {"tokens": concept["tokens"]})
    refined = step("refine", seen | concept | {"logits": first["logits"]})
    step("decode", seen | refined)
    return episode


def is_steady(graph: nn.Module, example: Example, generator: torch.Generator) -> bool:
    """Whether a little noise on what a graph is given changes little of what it gives."""
    disturbed = {
        name: value * (1 + DISTURBANCE * torch.randn(value.shape, generator=generator))
        for name, value in example.given.items()
        if name != "masks"
    }
    found = graph(example.given | disturbed)
    return all(
        (found[name] - value).abs().max() <= TOLERANCE for name, value in example.expected.items()
    )


def write_graph(graph: nn.Module, example: Example, path: Path) -> int:
    """Trace a graph and write it, without the inputs it has no use for; returns its opset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            graph,
            kwargs={"given": example.given},
            input_names=list(example.given),
            output_names=list(example.expected),
            dynamo=True,
            verbose=False,
        )
    inputs = program.model.graph.inputs
    inputs[:] = [value for value in inputs if value.uses()]
    program.save(path)  # above 2 GB the weights go into a second file beside it
    return program.model.opset_imports[""]


def compare(path: Path, examples: list[Example]) -> tuple[dict[str, Any], float]:
    """A graph's file with the names and shapes of its inputs and outputs; the largest difference
    between onnxruntime's and PyTorch's results."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    largest = 0.0
    for given, expected in examples:
        found = session.run(None, {value.name: given[value.name].numpy() for value in inputs})
        for value, numbers in zip(outputs, found, strict=True):
            difference = np.abs(numbers - expected[value.name].numpy()).max()
            largest = float(np.maximum(largest, difference))  # keeps NaN
    shapes = {
        "inputs": {value.name: value.shape for value in inputs},
        "outputs": {value.name: value.shape for value in outputs},
    }
    return {"file": path.name, **shapes}, largest


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


if __name__ == "__main__":
    raise SystemExit(run_script(main))
