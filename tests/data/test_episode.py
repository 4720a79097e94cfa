import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from common.errors import UsageError
from common.geometry import Geometry
from data.benchmarks import EpisodeKey, make_benchmark
from data.episode import Episode, EpisodeDataset
from data.sampler import EpisodeSampler


@pytest.fixture(scope="module")
def validation(generated):
    return make_benchmark("pascal", generated, 0).validation


def test_a_batch_has_the_shapes_and_values_it_promises(validation):
    keys = EpisodeSampler(validation, 2, seed=0).evaluation_keys(3)
    dataset = EpisodeDataset(validation, keys, Geometry(96), keep_original=True)
    batch = Episode.join([dataset[index] for index in range(3)])
    assert len(batch.keys) == 3
    assert batch.query_image.shape == (3, 3, 96, 96)
    assert batch.support_images.shape == (3, 2, 3, 96, 96)
    assert batch.query_mask.shape == batch.query_ignore.shape == (3, 96, 96)
    assert batch.support_masks.shape == (3, 2, 96, 96)
    assert batch.query_ignore.dtype == torch.bool
    for masks in (batch.query_mask, batch.support_masks):
        assert masks.dtype == torch.float32
        assert set(masks.unique().tolist()) == {0, 1}
    assert batch.support_masks.flatten(2).any(2).all()
    assert not (batch.query_mask.bool() & batch.query_ignore).any()
    assert batch.class_ids.tolist() == [key.class_id for key in keys]
    assert batch.keys == tuple(keys)
    assert [tuple(mask.shape) for mask in batch.original_masks] == [(128, 128)] * 3
    assert all(set(mask.unique().tolist()) == {0, 1, 255} for mask in batch.original_masks)
    assert batch.to("cpu").keys == batch.keys


def test_a_batch_at_the_images_own_size_is_the_mask_itself(validation):
    key = EpisodeSampler(validation, 1, seed=0).evaluation_keys(1)[0]
    batch = EpisodeDataset(validation, [key], Geometry(128), keep_original=True)[0]
    _, mask = validation.read(key.query)
    assert np.array_equal(batch.query_mask[0].bool(), mask == key.class_id)
    assert np.array_equal(batch.query_ignore[0], mask == 255)
    assert np.array_equal(batch.original_masks[0] == 1, mask == key.class_id)
    assert EpisodeDataset(validation, [key], Geometry(128))[0].original_masks == ()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_episodes_are_the_same_for_any_number_of_workers(validation):
    keys = EpisodeSampler(validation, 2, seed=0).training_keys(1)[:8]
    dataset = EpisodeDataset(validation, keys, Geometry(64), keep_original=True)
    expected = None
    for workers in (0, 1, 4):
        batches = list(DataLoader(dataset, 3, num_workers=workers, collate_fn=Episode.join))
        found = [
            (b.keys, *(t.numpy().tobytes() for t in (b.query_image, b.support_masks)))
            for b in batches
        ]
        expected = expected or found
        assert found == expected


def test_an_empty_support_mask_is_refused(make_voc):
    root = make_voc({"query": np.ones((64, 64)), "support": np.ones((64, 64))})
    split = make_benchmark("pascal", root, 0).validation
    with pytest.raises(UsageError, match=r"empty support mask: support .* class 2 \(bicycle\)"):
        EpisodeDataset(split, [EpisodeKey(2, "query", ("support",))], Geometry(32))[0]


def test_a_small_support_object_survives_the_squash(make_voc):
    mask = np.zeros((64, 64))
    mask[63, 63] = 1
    root = make_voc({"query": np.ones((64, 64)), "support": mask})
    (root / "benchmark.json").write_text('{"min_pixels": 1}')
    split = make_benchmark("pascal", root, 0).validation
    episode = EpisodeDataset(split, [EpisodeKey(1, "query", ("support",))], Geometry(16))[0]
    assert episode.support_masks.sum() == episode.support_masks[0, 0, 15, 15] == 1


def test_episodes_of_other_images_are_refused(validation):
    query = next(iter(validation.class_lists))
    with pytest.raises(UsageError, match="the first is elsewhere"):
        EpisodeDataset(validation, [EpisodeKey(4, query, ("elsewhere",))], Geometry(32))
