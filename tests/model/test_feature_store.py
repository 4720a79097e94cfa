"""Features that are kept: the same as those that are computed, whoever kept them, in bounds."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import safe_open

from model.feature_shard import Shard, taken_apart
from model.feature_store import FeatureFolder, FeatureStore, content_key, model_key
from model.registry import METHODS
from model.sine.features import SineFeatures
from tests.helpers import coloured_cells, tiny_model
from tests.model.test_methods import TINY

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def folder_of(path, most_bytes: float = 1e9) -> FeatureFolder:
    return FeatureFolder(path, "model", most_bytes)


def assert_alike(found, expected, tolerance: float) -> None:
    found, plain = taken_apart(found)
    expected, expected_plain = taken_apart(expected)
    assert plain == expected_plain
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        scale = tensor.abs().max().item() if tensor.is_floating_point() else 1.0
        torch.testing.assert_close(found[name], tensor, atol=tolerance * scale, rtol=0, msg=name)


@pytest.mark.parametrize("name", METHODS)
def test_features_of_every_method_come_back(name, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = METHODS[name].build(METHODS[name].options(**TINY[name])).eval()
    image = method.geometry.image(coloured_cells(1))[None]
    size = torch.tensor([[50, 70]])
    with torch.no_grad():
        expected = method.encode(image, sizes=size)
        store = FeatureStore(folder_of(tmp_path))
        first = store.encode(method, image, size)
        again = FeatureStore(folder_of(tmp_path)).encode(method, image, size)
    assert type(again) is type(expected)
    assert_alike(again, expected, 1e-3)  # eleven bits
    assert_alike(again, first, 0)  # a result does not depend on who was first


def test_an_image_is_encoded_once_by_all_stores_of_a_folder(model, images, tmp_path):
    store = FeatureStore(folder_of(tmp_path))
    store.encode(model, images, None)
    store.encode(model, images[[1, 0]], None)
    other = FeatureStore(folder_of(tmp_path))
    other.encode(model, images.flip(0), None)
    assert (store.misses, store.hits) == (3, 2)
    assert (other.misses, other.hits) == (0, 3)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_memory_keeps_features_as_they_are(model, images):
    store = FeatureStore(in_memory=True)
    with torch.no_grad():
        rows = [model.encode(image[None]) for image in images]
    for _ in range(2):
        assert_alike(store.encode(model, images, None), rows[0].join(rows), 0)
    assert (store.misses, store.hits) == (3, 3)


def test_large_values_are_kept_in_bfloat16_and_half_precision_as_it_is(tmp_path):
    large = torch.tensor([7e4, 1.0])
    path = tmp_path / "one.safetensors"
    Shard.pack(SineFeatures(large)).write(path)
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("features.maps").dtype == torch.bfloat16
    found = Shard.open(path).unpack(SineFeatures, CPU).maps
    assert found.dtype == torch.float32
    assert found.tolist() == [70144.0, 1.0]  # the nearest with eight bits
    kept = Shard.pack(SineFeatures(large.bfloat16())).unpack(SineFeatures, CPU).maps
    assert kept.dtype == torch.bfloat16


def test_what_is_broken_is_written_again(model, images, tmp_path):
    FeatureStore(folder_of(tmp_path)).encode(model, images[:1], None)
    [path] = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"\xff" * 64):
        path.write_bytes(content)
        store = FeatureStore(folder_of(tmp_path))
        store.encode(model, images[:1], None)
        assert store.misses == 1
        assert path.read_bytes() == whole


def test_many_writers_at_once_leave_whole_shards(model, images, tmp_path):
    def fill(_: int) -> None:
        FeatureStore(folder_of(tmp_path)).encode(model, images, None)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(8)))
    shards = list(tmp_path.rglob("*"))
    assert [p for p in shards if p.is_file() and p.name.startswith(".")] == []
    store = FeatureStore(folder_of(tmp_path))
    store.encode(model, images, None)
    assert store.misses == 0


def test_a_full_folder_says_so_once_and_work_goes_on(model, images, tmp_path, capsys):
    store = FeatureStore(folder_of(tmp_path, most_bytes=1.0))
    found = store.encode(model, images, None)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert capsys.readouterr().err.count("no more is kept") == 1
    assert_alike(found, FeatureStore(folder_of(tmp_path / "other")).encode(model, images, None), 0)


def test_what_decides_features_decides_the_key(model, images):
    key = content_key(images[:1], None)
    assert content_key(images[:1].clone(), None) == key
    with torch.autocast("cpu", torch.bfloat16):
        assert content_key(images[:1], None) != key
    changed = images[:1].clone()
    changed[0, 0, 0, 0] += 1e-3
    assert content_key(changed, None) != key
    assert content_key(images[:1], torch.tensor([[5, 7]])) != key

    options = {"image_size": 64}
    kept = model_key(model, options)
    assert model_key(tiny_model(), options) == kept
    assert model_key(model, {"image_size": 96}) != kept
    other = tiny_model()
    with torch.no_grad():
        next(other.generator.parameters()).add_(1)  # learns, and encodes nothing
        assert model_key(other, options) == kept
        next(other.backbone.parameters()).view(-1)[-1] += 1
    assert model_key(other, options) != kept
