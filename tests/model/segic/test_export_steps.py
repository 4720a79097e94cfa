"""SegIC in steps is SegIC, also as graphs of another runtime."""

import pytest
import torch

from model.registry import METHODS
from model.segic.export_steps import STEPS
from tests.model.segic.conftest import SIDE


@torch.no_grad()
def taken(model, images, masks):
    """Each step with what it is given and gives; and what the whole model predicts."""
    references = model.encode(images[:2])
    support = model.encode_support(references, masks[None, :2])
    whole = model.predict(model.encode(images[3:]), support)
    steps = {name: step(model, SIDE) for name, step in STEPS.items()}
    picture = {"image": images[3:]}
    shown = torch.cat([steps["encode"]({"image": image[None]})["cells"] for image in images[:2]])
    labelled = {"cells": shown, "masks": masks[:2]}
    concept, seen = steps["learn"](labelled), steps["encode"](picture)
    given = {"encode": picture, "learn": labelled, "decode": seen | concept}
    made = {"encode": seen, "learn": concept, "decode": steps["decode"](seen | concept)}
    return {name: (step, given[name], made[name]) for name, step in steps.items()}, whole


def test_the_steps_are_the_model(model, images, masks):
    steps, whole = taken(model, images, masks)
    made = steps["decode"][2]
    torch.testing.assert_close(made["logits"], whole.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made["quality"], whole.quality, atol=1e-4, rtol=1e-4)
    assert list(METHODS["segic"].export_steps) == ["encode", "learn", "decode"]


@pytest.mark.slow
def test_graphs_give_the_same_masks(model, images, masks, tmp_path):
    pytest.importorskip("onnxruntime")
    from tools.export.graphs import largest_difference, write_graph
    from tools.export.runtimes import OnnxGraph
    from tools.export.steps import Example

    for name, (step, given, made) in taken(model, images, masks)[0].items():
        example = Example(given, made)
        path = tmp_path / f"{name}.onnx"
        write_graph(step, example, path)
        graph = OnnxGraph(path)
        assert largest_difference(graph, [example]) < 1e-3, name
        assert set(graph.outputs) == set(made)
