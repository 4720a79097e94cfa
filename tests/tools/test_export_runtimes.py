"""Exported programs in other runtimes: their masks, int8, and what is measured of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from evaluation.image import predict_episodes
from model.export_step import ExportStep, Values
from tools import export_onnx as export
from tools.export import measure
from tools.export.graphs import largest_difference, write_graph, write_int8, write_openvino
from tools.export.runtimes import OnnxGraph, OpenVinoGraph
from tools.export.steps import Example, Program

CHANNELS = 64


class Product(ExportStep):
    """Rows by a matrix of weights, and by one that is given."""

    def __init__(self) -> None:
        super().__init__(None, 1)
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(CHANNELS, CHANNELS, generator=generator))

    def forward(self, given: Values) -> Values:
        return {"out": given["rows"] @ self.weight + given["rows"] @ given["other"]}


class Sum(ExportStep):
    """Nothing with weights."""

    def forward(self, given: Values) -> Values:
        return {"out": given["rows"] + 1}


@pytest.fixture(scope="module")
def example() -> Example:
    generator = torch.Generator().manual_seed(1)
    given = {
        "rows": torch.randn(1, 8, CHANNELS, generator=generator),
        "other": torch.randn(1, CHANNELS, CHANNELS, generator=generator),
    }
    with torch.no_grad():
        return Example(given, Product()(given))


@pytest.fixture(scope="module")
def written(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "product.onnx"
    write_graph(Product(), example, path)
    return path


def test_weights_become_int8_and_the_change_is_reported(written: Path, example: Example):
    small = written.with_suffix(".int8.onnx")
    assert write_int8(written, small)

    stored = {i.name: i.data_type for i in onnx.load(small).graph.initializer if len(i.dims) == 2}
    assert list(stored.values()) == [onnx.TensorProto.INT8]
    assert small.stat().st_size < 0.6 * written.stat().st_size
    exact, rounded = (largest_difference(OnnxGraph(p), [example]) for p in (written, small))
    assert exact < 1e-4
    assert 0.01 < rounded < 0.5


def test_without_weights_there_is_no_int8(tmp_path: Path):
    given = {"rows": torch.zeros(1, 2, 3)}
    write_graph(Sum(None, 1), Example(given, Sum(None, 1)(given)), tmp_path / "sum.onnx")
    assert not write_int8(tmp_path / "sum.onnx", tmp_path / "sum.int8.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["sum.onnx"]


def test_openvino_gives_the_same(written: Path, example: Example):
    pytest.importorskip("openvino")
    converted = written.with_suffix(".xml")
    write_openvino(written, converted)
    graph = OpenVinoGraph(converted)
    assert largest_difference(graph, [example]) < 1e-4
    assert set(graph(example.given)) == {"out"}


def test_graphs_load_in_onnxruntime_alone(written: Path):
    write_int8(written, written.with_suffix(".int8.onnx"))
    alone = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy, onnxruntime\n"
        f"for path in {[str(path) for path in written.parent.glob('*.onnx')]}:\n"
        "    session = onnxruntime.InferenceSession(path)\n"
        "    given = {i.name: numpy.ones(i.shape, 'f') for i in session.get_inputs()}\n"
        "    assert numpy.isfinite(session.run(None, given)[0]).all()\n"
    )
    subprocess.run([sys.executable, "-c", alone], check=True, timeout=120)


def test_an_inexact_float_graph_is_refused_and_int8_is_not():
    def equal(**differences: float) -> bool:
        names = {"onnx": export.FLOAT, "int8": export.INT8, "openvino": export.OPENVINO}
        return export.Exported(
            differences={names[one]: {"encode": value} for one, value in differences.items()}
        ).is_equal

    assert equal(onnx=1e-4, int8=0.3)
    assert not equal(onnx=2e-3)
    assert not equal(onnx=1e-4, openvino=2e-3)
    assert not equal(onnx=float("nan"))


def test_steps_are_taken_in_their_order():
    """encode each picture, learn all references together, decode, refine and decode again."""
    taken = []

    def take(name: str, given: Values) -> Values:
        taken.append((name, sorted(given)))
        gives = {"encode": "seen", "learn": "tokens", "decode": "logits", "refine": "tokens"}
        return {gives[name]: torch.zeros(1)}

    program = Program(("encode", "learn", "decode", "refine"), take)
    shown = [program.encode(torch.zeros(1)) for _ in range(2)]
    concept = program.learn(shown, torch.ones(2))
    found = program.find(program.encode(torch.zeros(1)), concept)

    assert [name for name, _ in taken] == ["encode"] * 2 + ["learn", "encode"] + [
        "decode",
        "refine",
        "decode",
    ]
    assert taken[4] == ("decode", ["masks", "seen", "tokens"])
    assert "logits" in found
    assert program.is_whole
    assert not Program(("encode", "learn", "locate"), take).is_whole


def test_changed_pixels_are_counted_in_percent():
    masks = [np.packbits(np.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool))] * 2
    other = [masks[0], np.packbits(np.array([[0, 1, 0, 0], [0, 0, 0, 0]], bool))]
    assert measure.changed_pixels(masks, masks) == 0
    assert measure.changed_pixels(masks, other) == 100 * 2 / 16


@pytest.mark.parametrize(
    ("method", "flags"),
    [
        ("insid3", ("--size", "tiny", "--image_size", 64)),
        ("sansa", ("--sam_model", "tiny", "--image_size", 64)),
    ],
)
def test_the_steps_of_a_method_find_its_masks(
    method: str, flags: tuple[object, ...], script, generated: Path, monkeypatch, tmp_path: Path
):
    """On a benchmark: PyTorch's steps, in the place of graphs, give the method's own masks."""
    kept: list[Tensor] = []

    def stand_in(model, steps, exported, data):
        programs = {measure.PYTORCH: export.run_in_pytorch(steps)}
        own = measure.ProgramSegmenter.segment

        def segment(segmenter, episodes):
            logits = own(segmenter, episodes)
            whole = predict_episodes(model, episodes).logits
            kept.append(((logits > 0) != (whole > 0)).float().mean())
            return logits

        monkeypatch.setattr(measure.ProgramSegmenter, "segment", segment)
        return measure.measure(model, steps, programs, data, data.test_episodes, data.seed)

    monkeypatch.setattr(export, "measure_all", stand_in)
    monkeypatch.setattr(
        export, "write_graphs", lambda *given: export.Exported(differences={export.FLOAT: {}})
    )
    data = ("--benchmark", "pascal", "--fold", 0, "--datapath", generated, "--test_episodes", 6)
    outcome = script(
        export,
        *("--method", method, *flags, "--measure", *data, "--output", tmp_path / "exported"),
    )
    assert outcome.code == 0, outcome.error
    assert len(kept) == 2
    assert max(kept) < 1e-3
    assert "| PyTorch |" in outcome.output
    measured = json.loads((tmp_path / "exported" / "model.json").read_text())["measured"]
    assert measured["episodes"] == 6
    assert measured["runtimes"]["PyTorch"]["changed_pixels"] == 0
    assert measured["runtimes"]["PyTorch"]["seconds_per_picture"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "runtimes"),
    [
        (("--method", "insid3", "--size", "tiny", "--openvino"), 4),
        (("--method", "sansa", "--sam_model", "tiny", "--image_size", 128), 3),
    ],
)
def test_all_runtimes_are_measured_on_a_benchmark(
    flags: tuple[object, ...], runtimes: int, script, generated: Path, tmp_path: Path
):
    pytest.importorskip("openvino")
    data = ("--benchmark", "pascal", "--fold", 0, "--datapath", generated, "--test_episodes", 8)
    folder = tmp_path / "exported"
    outcome = script(export, *flags, "--int8", "--measure", *data, "--output", folder)
    assert outcome.code == 0, outcome.error
    facts = json.loads((folder / "model.json").read_text())
    measured = facts["measured"]["runtimes"]
    assert len(measured) == runtimes
    assert measured[export.FLOAT]["changed_pixels"] < 0.05
    assert measured[export.FLOAT]["miou"] == pytest.approx(measured[measure.PYTORCH]["miou"], abs=1)
    if "--openvino" in flags:
        assert measured[export.OPENVINO]["changed_pixels"] < 0.05
    assert any("int8" in graph for graph in facts["graphs"].values())
    assert max(facts["differences"][export.INT8].values()) > 1e-4
