"""What runs exported graphs: ONNX Runtime and OpenVINO, with so many threads as PyTorch has.

Both take and give named tensors, as the steps themselves do (`model.export_step`).
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch

from model.export_step import Values

Shapes = dict[str, list[int]]


class Graph(ABC):
    """A graph that was read from a file, on the CPU."""

    @abstractmethod
    def __call__(self, given: Values) -> Values:
        """Run it; what it has no use for may be among the given tensors."""


class OnnxGraph(Graph):
    """A graph in onnxruntime."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, given: Values) -> Values:
        inputs = {name: given[name].numpy() for name in self.inputs}
        numbers = self.session.run(None, inputs)
        found = zip(self.outputs, numbers, strict=True)
        return {name: torch.from_numpy(value) for name, value in found}

    @property
    def inputs(self) -> Shapes:
        """Their names and shapes."""
        return {value.name: value.shape for value in self.session.get_inputs()}

    @property
    def outputs(self) -> Shapes:
        """Their names and shapes."""
        return {value.name: value.shape for value in self.session.get_outputs()}


class OpenVinoGraph(Graph):
    """A graph in OpenVINO; every number in float32, also where a processor is faster with less."""

    def __init__(self, path: Path) -> None:
        import openvino

        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.compiled = openvino.Core().compile_model(path, "CPU", settings)

    def __call__(self, given: Values) -> Values:
        names = [port.any_name for port in self.compiled.inputs]
        found = self.compiled({name: given[name].contiguous().numpy() for name in names})
        return {port.any_name: torch.from_numpy(value.copy()) for port, value in found.items()}
