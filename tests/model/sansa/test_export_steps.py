"""SANSA in steps is SANSA, also as graphs of another runtime."""

import pytest
import torch

from model.export_step import Values
from model.registry import METHODS
from model.sansa.export_steps import STEPS
from tests.helpers import random_episodes
from tests.model.sansa.conftest import lively_sansa

EPISODES = random_episodes(1, batch=1, shots=2)
SIDE = 64


@torch.no_grad()
def taken() -> tuple[dict[str, tuple[torch.nn.Module, Values, Values]], torch.Tensor]:
    """Each step with what it is given and gives; and the logits of the whole model."""
    model = lively_sansa()
    images = model.encode(EPISODES.support[0])
    support = model.encode_support(images, EPISODES.masks)
    whole = model.predict(model.encode(EPISODES.query), support).logits
    steps = {name: step(model, SIDE) for name, step in STEPS.items()}
    picture = {"image": EPISODES.query}
    shown = [steps["encode"]({"image": image[None]}) for image in EPISODES.support[0]]
    references = {name: torch.cat([one[name] for one in shown]) for name in shown[0]}
    labelled = references | {"masks": EPISODES.masks[0]}
    concept, seen = steps["learn"](labelled), steps["encode"](picture)
    found = steps["decode"](seen | concept)
    given = {"encode": picture, "learn": labelled, "decode": seen | concept}
    made = {"encode": seen, "learn": concept, "decode": found}
    return {name: (step, given[name], made[name]) for name, step in steps.items()}, whole


def test_the_steps_are_the_model():
    steps, whole = taken()
    torch.testing.assert_close(steps["decode"][2]["logits"], whole, atol=1e-4, rtol=1e-4)
    assert list(METHODS["sansa"].export_steps) == ["encode", "learn", "decode"]


@pytest.mark.slow
def test_graphs_give_the_same_masks(tmp_path):
    pytest.importorskip("onnxruntime")
    from tools.export.graphs import largest_difference, write_graph
    from tools.export.runtimes import OnnxGraph
    from tools.export.steps import Example

    for name, (step, given, made) in taken()[0].items():
        example = Example(given, made)
        path = tmp_path / f"{name}.onnx"
        write_graph(step, example, path)
        graph = OnnxGraph(path)
        assert largest_difference(graph, [example]) < 1e-3, name
        assert set(graph.outputs) == set(made)
