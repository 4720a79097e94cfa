"""What encodes images compiles to the same features, or says why it does not."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from common.run_options import CacheOptions
from model.backbones.backbone import Backbone
from model.encoding import compile_encoders, set_up_encoding
from tests.helpers import tiny_model
from tools.speed.subjects import build_subject


class Doubling(nn.Module):
    """A network of one step."""

    middle_channels = 3
    input_size = None

    def middle(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, 2 * images

    def high(self, trunk: Tensor) -> Tensor:
        return trunk + torch.ones(3, 1, 1)


@pytest.fixture
def model():
    yield nn.Sequential(Backbone("doubling", Doubling()))
    torch._dynamo.reset()


def test_where_nothing_compiles_one_line_says_so_and_features_are_the_same(
    model, monkeypatch, capsys
):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here\nmore")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: real(f, backend=broken, **options))
    compile_encoders(model)
    for _ in range(2):
        assert torch.equal(
            model[0].extract(torch.ones(1, 3, 4, 4)).trunk, torch.full((1, 3, 4, 4), 2.0)
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cannot compile Backbone.extract, which runs as it is: ")
    assert "no compiler here" in line


@pytest.mark.slow
def test_errors_of_the_network_itself_are_its_own(model):
    compile_encoders(model)
    with pytest.raises(RuntimeError, match="must match the size") as caught:
        model[0].high(torch.ones(1, 2, 4, 4), None)
    assert not isinstance(caught.value, TorchDynamoException)


@pytest.mark.slow
def test_compiled_features_are_those_of_the_plain_networks(capsys):
    subject = build_subject("tiny", torch.device("cpu"), True)
    expected = subject.model.encode(subject.query)
    compile_encoders(subject.model)
    found = subject.model.encode(subject.query)
    torch.testing.assert_close(found.sam.embedding, expected.sam.embedding, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.backbone.trunk, expected.backbone.trunk, atol=1e-4, rtol=1e-4)
    assert "cannot compile" not in capsys.readouterr().err


def test_flags_open_a_store_and_announce_it(tmp_path, capsys):
    method = tiny_model()
    set_up_encoding(method, {}, CacheOptions(), announce=True)
    assert method.store is None
    options = CacheOptions(feature_cache=tmp_path, feature_cache_gb=0.5)
    set_up_encoding(method, {}, options, announce=True)
    assert method.store.folder.most_bytes == 5e8
    assert f"feature cache {tmp_path}: 0 images, 0.00 of at most 0.5 GB" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert CacheOptions(feature_cache=tmp_path / "file", feature_cache_gb=np.nan).problems() == [
        "--feature_cache_gb must be above 0, not nan",
        f"--feature_cache: {tmp_path / 'file'} is no folder",
    ]
