import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import eval_correspondence
from common.geometry import Geometry
from data.spair import KeypointPair, SPair71k
from data.synthetic.spair import write_spair
from evaluation.correspondence import Correspondence, summarise
from model.registry import METHODS
from tests.model.test_methods import TINY
from tools import prepare


@pytest.fixture(scope="module")
def spair(tmp_path_factory):
    """A folder that holds a generated SPair-71k of two categories."""
    root = tmp_path_factory.mktemp("data")
    write_spair(root / "SPair-71k", 2, workers=0)
    return root


def flags(root, *more):
    method = ("--method", "sansa", "--sam_model", "tiny", "--adapters", "fresh")
    return (*method, "--image_size", 128, "--datapath", root, "--device", "cpu", *more)


def pair_of(points, found, side=100.0):
    box = (0.0, 0.0, side, side / 2)
    return KeypointPair("a:b", "b", "b/1", "b/2", np.float32(points), np.float32(found), box)


class Coloured:
    """Features are codes of the pictures' red and green, at every second row and column."""

    def __init__(self, padded):
        self.geometry = Geometry(64, padded)

    def place_features(self, images):
        colours = torch.nn.functional.avg_pool2d(images[:, :2], 2)
        return torch.cat([colours.sin(), colours.cos()], dim=1)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("rule", "tolerance"), [("nearest", 2.5), ("soft", 8)])
def test_the_same_place_is_found_in_the_same_picture(padded, rule, tolerance):
    rows, columns = np.indices((120, 60))
    picture = np.stack([2 * rows, 4 * columns, rows], axis=2).astype(np.uint8)
    data = SimpleNamespace(read=lambda name: picture)
    finder = Correspondence(Coloured(padded), data, rule, torch.device("cpu"))
    points = [[3.0, 9.0], [45.0, 33.0], [27.0, 105.0]]
    found = finder.find(pair_of(points, points)).numpy()
    assert np.abs(found - points).max() < tolerance


def test_places_count_within_a_share_of_the_longer_side_of_the_box():
    data = SimpleNamespace(read=None)
    finder = Correspondence(None, data, "nearest", torch.device("cpu"))
    found = torch.tensor([[10.0, 10.0], [20.0, 20.0]])
    object.__setattr__(finder, "find", lambda pair: found)
    near = pair_of([[0, 0], [0, 0]], [[16, 10], [20, 39]])  # 6 and 19 of 100 pixels off
    assert finder.score([near]) == {"item": "b/1", "pairs": [["a:b", "b", 2, 0, 1, 1, 2]]}


def test_means_are_over_pairs_and_over_places():
    records = {
        "one": {"item": "one", "pairs": [["p", "cat", 4, 0, 1, 2, 4], ["q", "dog", 1, 1, 1, 1, 1]]}
    }
    scores = summarise(records)
    assert scores["pck"]["0.1"] == pytest.approx(100 * (1 / 4 + 1) / 2)
    assert scores["pck_over_points"]["0.1"] == pytest.approx(100 * 2 / 5)
    assert scores["per_category"]["cat"]["0.15"] == 50
    assert (scores["pairs"], scores["points"]) == (2, 5)


def test_generated_places_lie_on_the_same_parts(spair):
    data = SPair71k(spair)
    assert len(data.pairs) > 6
    for pair in data.pairs:
        assert pair.source.split("/")[0] == pair.target.split("/")[0] == pair.category
        assert len(pair.source_points) == len(pair.target_points) > 0
        assert pair.box_side > 8
        height, width = data.read(pair.target).shape[:2]
        assert (pair.target_points >= 0).all()
        assert (pair.target_points < (width, height)).all()
    assert len(SPair71k(spair, layout="small").pairs) < len(data.pairs)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_that_can_compares_places(name):
    if name not in TINY:
        pytest.skip(f"{name} has no tiny networks yet")
    entry = METHODS[name]
    model = entry.build(entry.options(**TINY[name])).eval()
    side = model.geometry.side
    assert model.compares_places
    features = model.place_features(torch.randn(1, 3, side, side))
    assert features.dim() == 4
    assert len(features) == 1


def test_an_evaluation_is_written_and_goes_on(script, spair, tmp_path):
    outcome = script(eval_correspondence, *flags(spair), "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["protocol"] == "spair71k"
    assert results["pairs"] == len(SPair71k(spair).pairs)
    assert 0 <= results["pck"]["0.05"] <= results["pck"]["0.2"] <= 100
    assert (tmp_path / "out" / "contact_sheet.png").is_file()

    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "items.jsonl").write_text("".join(lines[1:]))
    outcome = script(eval_correspondence, *flags(spair), "--output", tmp_path / "out")
    assert outcome.code == 0
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["pck"] == results["pck"]
    outcome = script(
        eval_correspondence, *flags(spair, "--rule", "soft"), "--output", tmp_path / "out"
    )
    assert outcome.code == 2
    assert "other settings (protocol, rule)" in outcome.error


def test_other_data_are_refused_and_differences_told(script, spair, tmp_path, capsys):
    outcome = script(eval_correspondence, *flags(tmp_path))
    assert outcome.code == 2
    assert "holds no SPair-71k" in outcome.error
    assert "python -m tools.prepare spair71k" in outcome.error
    assert prepare.main(["spair71k", "--root", str(spair)]) == 0
    capsys.readouterr()
    (spair / "SPair-71k" / "benchmark.json").unlink()
    assert prepare.main(["spair71k", "--root", str(spair)]) == 1
    assert "instead of 12234" in capsys.readouterr().out
    first = SPair71k(spair).pairs[0]
    file = spair / "SPair-71k" / "PairAnnotation" / "test" / f"{first.name}.json"
    file.write_text("{}")
    outcome = script(eval_correspondence, *flags(spair))
    assert outcome.code == 2
    assert "is no pair of SPair-71k" in outcome.error
