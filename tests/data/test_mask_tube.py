import numpy as np
import pytest
import torch
from torch import Tensor

from common.geometry import Geometry
from data.benchmarks import make_benchmark
from data.episode import EpisodeDataset
from data.mask_tube import FRAMES, LARGEST_ANGLE, MaskTubeDataset, MaskTubes, mask_tube
from data.sampler import EpisodeSampler

SIDE = 64


def bright_object() -> tuple[Tensor, Tensor]:
    """An image that is 1 on its object, an L near the middle, and the object's mask."""
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, 16:48, 20:28] = 1
    mask[:, 40:48, 20:44] = 1
    return mask.expand(3, -1, -1).clone(), mask


def made(seed: int) -> tuple[Tensor, Tensor]:
    return mask_tube(*bright_object(), np.random.default_rng(seed))


def kinds(frames: Tensor, image: Tensor) -> dict[str, int]:
    """Where the frames that can be told exactly are."""
    exact = {"itself": image, "left-right": image.flip(-1), "up-down": image.flip(-2)}
    return {
        name: index
        for index, frame in enumerate(frames)
        for name, expected in exact.items()
        if torch.equal(frame, expected)
    }


def test_holds_the_image_and_four_altered_copies():
    image, mask = bright_object()
    frames, masks = made(0)
    assert frames.shape == (FRAMES, 3, SIDE, SIDE)
    assert masks.shape == (FRAMES, 1, SIDE, SIDE)
    found = kinds(frames, image)
    assert set(found) == {"itself", "left-right", "up-down"}
    assert torch.equal(masks[found["itself"]], mask)
    assert torch.equal(masks[found["left-right"]], mask.flip(-1))
    assert torch.equal(masks[found["up-down"]], mask.flip(-2))
    others = [i for i in range(FRAMES) if i not in found.values()]
    blurred = [i for i in others if torch.equal(masks[i], mask)]
    assert len(blurred) == 1  # its mask stays; the mask of the other one is rotated
    assert 0 < frames[blurred[0]].std() < image.std()


def test_every_mask_moves_with_its_frame():
    for seed in range(20):
        frames, masks = made(seed)
        # the image is 1 on the object and 0 elsewhere; smoothed edges lie between
        disagree = ((frames[:, :1] > 0.5) != (masks > 0.5)).float().mean(dim=(1, 2, 3))
        assert disagree.max() < 0.01
        assert set(masks.unique().tolist()) == {0.0, 1.0}


def test_rotation_brings_in_the_mean_colour_as_background():
    frames, masks = mask_tube(
        torch.ones(3, SIDE, SIDE), torch.ones(1, SIDE, SIDE), np.random.default_rng(3)
    )
    corners = frames[:, 0, 0, 0].tolist()
    assert sorted(corners)[1:] == pytest.approx([1.0] * 4)
    turned = int(np.argmin(corners))
    assert frames[turned, :, 0, 0].tolist() == [0.0, 0.0, 0.0]
    assert masks[turned, 0, 0, 0] == 0
    assert masks[turned].mean() > 0.9


def test_angles_stay_within_ten_degrees_and_differ():
    angles = []
    x, y = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="xy")
    bar = ((y - 31.5).abs() < 3).float() * ((x - 31.5).abs() < 28).float()
    for seed in range(30):
        masks = mask_tube(bar.expand(3, -1, -1), bar[None], np.random.default_rng(seed))[1]
        turned = [m for m in masks[:, 0] if not torch.equal(m, bar)]
        for mask in turned:  # the main axis of its pixels
            places = mask.nonzero().float() - 31.5
            (covariance,) = (places.T @ places,)
            row, column = torch.linalg.eigh(covariance).eigenvectors[:, -1].tolist()
            angles.append(np.degrees(np.arctan(-row / column)))
    assert len(angles) >= 25
    assert max(map(abs, angles)) < LARGEST_ANGLE + 1
    assert min(angles) < -5
    assert max(angles) > 5


def test_the_order_is_shuffled():
    image = bright_object()[0]
    places = {kinds(made(seed)[0], image)["itself"] for seed in range(40)}
    assert places == set(range(FRAMES))


@pytest.fixture(scope="module")
def sampler(generated) -> EpisodeSampler:
    split = make_benchmark("pascal", generated, 0).training
    return EpisodeSampler(split, shots=1, seed=5)


def dataset(sampler: EpisodeSampler, epoch: int = 0, seed: int = 5) -> MaskTubeDataset:
    return MaskTubeDataset(sampler.split, sampler.training_keys(0)[:6], Geometry(SIDE), seed, epoch)


def test_a_tube_is_a_function_of_seed_epoch_and_index(sampler):
    tubes = dataset(sampler)
    np.random.rand()
    torch.rand(1)
    for index in (3, 0, 3):
        one, other = tubes[index], dataset(sampler)[index]
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.masks, other.masks)
    assert not torch.equal(tubes[0].frames, dataset(sampler, epoch=1)[0].frames)
    assert not torch.equal(tubes[0].frames, dataset(sampler, seed=6)[0].frames)


def test_a_tube_is_made_of_its_episode(sampler):
    tubes = dataset(sampler)
    episodes = EpisodeDataset(sampler.split, sampler.training_keys(0)[:6], Geometry(SIDE))
    assert len(tubes) == len(episodes) == 6
    for index in range(6):
        tube, episode = tubes[index], episodes[index]
        itself = [torch.equal(frame, episode.query_image[0]) for frame in tube.frames[0]]
        assert sum(itself) == 1
        position = itself.index(True)
        assert torch.equal(tube.masks[0, position], episode.query_mask[0])
        assert torch.equal(tube.ignore[0, position], episode.query_ignore[0])
        assert torch.equal(tube.support_images, episode.support_images)
        assert torch.equal(tube.support_masks, episode.support_masks)
        assert tube.keys == episode.keys
        assert not (tube.masks.bool() & tube.ignore).any()


def test_batches_are_joined(sampler):
    tubes = dataset(sampler)
    batch = MaskTubes.join([tubes[0], tubes[1]])
    assert batch.frames.shape == (2, FRAMES, 3, SIDE, SIDE)
    assert batch.masks.shape == batch.ignore.shape == (2, FRAMES, SIDE, SIDE)
    assert batch.ignore.dtype == torch.bool
    assert batch.support_images.shape == (2, 1, 3, SIDE, SIDE)
    assert batch.keys == tubes[0].keys + tubes[1].keys
    assert torch.equal(batch.frames[1:], tubes[1].frames)
    assert batch.to("cpu").class_ids.tolist() == batch.class_ids.tolist()
