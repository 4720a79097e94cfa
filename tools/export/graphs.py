"""Graphs as files: written, made smaller, given to OpenVINO, and compared with PyTorch."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from model.export_step import ExportStep
from tools.export.runtimes import Graph
from tools.export.steps import Example

WHOLE_NUMBERS = ("DynamicQuantizeLinear", "MatMulInteger", "DynamicQuantizeMatMul")
"""Operators of a graph in which something is int8."""


def write_graph(graph: ExportStep, example: Example, path: Path) -> int:
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


def write_int8(path: Path, quantised: Path) -> bool:
    """Write a graph whose products with weights are of int8; what goes in and out stays float32.

    Weights get a scale for each channel, and their other factors one at run time, so that no
    pictures are needed beforehand. Convolutions stay as they are: onnxruntime has slow ones only.

    Returns:
        Whether there was anything to do; else there is no file.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    # the exporter's notes on shapes between operators are not all true, and here they are checked
    del model.graph.value_info[:]
    with _without_advice():
        quantize_dynamic(
            model,
            quantised,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    operators = {node.op_type for node in onnx.load(quantised, load_external_data=False).graph.node}
    if operators.isdisjoint(WHOLE_NUMBERS):
        quantised.unlink()
        return False
    return True


def write_openvino(path: Path, converted: Path) -> None:
    """Write a graph as OpenVINO reads it fastest: `converted`, .xml, and its weights beside it."""
    import openvino

    model = openvino.Core().read_model(path)
    openvino.save_model(model, converted, compress_to_fp16=False)


def largest_difference(graph: Graph, examples: Sequence[Example]) -> float:
    """Between any number of a runtime's and of PyTorch's, each from the same inputs."""
    largest = torch.zeros(())
    for given, expected in examples:
        for name, value in graph(given).items():
            difference = (value.float() - expected[name].float()).abs().max()
            largest = torch.maximum(largest, difference)  # keeps NaN
    return float(largest)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Spare the person what a library says about preprocessing graphs."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
