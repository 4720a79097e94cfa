import math

import numpy as np
import pytest
import torch
from torch import nn

from model.layers import ChannelDropout, EpisodeSeeds, drawn_by_episode, sine_position


def reference(channels: int, side: int) -> list[list[float]]:
    """DETR's formula, one number after the other."""
    half = channels // 2
    table = []
    for row in range(side):
        for column in range(side):
            encoded = []
            for place in (row, column):
                angle = (place + 1) / (side + 1e-6) * 2 * math.pi
                for i in range(half):
                    wave = math.sin if i % 2 == 0 else math.cos
                    encoded.append(wave(angle / 10000 ** (2 * (i // 2) / half)))
            table.append(encoded)
    return table


@pytest.mark.parametrize(("channels", "side"), [(8, 3), (16, 5), (256, 4), (128, 1)])
def test_equals_the_formula_written_as_loops(channels: int, side: int):
    position = sine_position(channels, side)
    assert position.shape == (side * side, channels)
    torch.testing.assert_close(position, torch.tensor(reference(channels, side)), atol=2e-6, rtol=0)


def test_rows_stand_in_the_first_half_and_columns_in_the_second():
    position = sine_position(8, 4).view(4, 4, 8)
    assert torch.equal(position[:, :1, :4].expand(4, 4, 4), position[..., :4])
    assert torch.equal(position[:1, :, 4:].expand(4, 4, 4), position[..., 4:])
    assert torch.equal(position[:, 0, :4], position[0, :, 4:])


def test_no_two_places_are_alike():
    position = sine_position(64, 8)
    distance = torch.cdist(position, position) + torch.eye(64)
    assert distance.min() > 0.1


def test_an_episodes_seed_draws_the_channels_of_its_query_and_then_of_its_supports():
    channels, shots, rate, seeds = 6, 2, 0.25, [(0, 3, 5), (0, 3, 9)]
    dropout = ChannelDropout(channels, rate)
    images = torch.rand(4, channels, 2, 2, generator=torch.Generator().manual_seed(0)) + 1
    kept = [np.random.default_rng(seed).random((1 + shots, channels)) >= rate for seed in seeds]
    kept = torch.tensor(np.stack(kept))[..., None, None] / (1 - rate)

    with drawn_by_episode(nn.Sequential(dropout, dropout), seeds, shots):
        supports, queries = dropout(images), dropout(images[:2])
        with pytest.raises(RuntimeError, match="pass the dropout once"):
            dropout(images)

    torch.testing.assert_close(supports, images * kept[:, 1:].flatten(0, 1))
    torch.testing.assert_close(queries, images[:2] * kept[:, 0])
    assert torch.equal(dropout.train()(images), images)


def test_dropout_ends_with_its_context_also_after_an_error():
    dropout, images = ChannelDropout(64, 0.5), torch.ones(1, 64, 1, 1)
    with pytest.raises(KeyError), drawn_by_episode(dropout, [(1,)], shots=1):
        raise KeyError
    assert torch.equal(dropout(images), images)


def test_what_a_loss_draws_depends_on_the_episode_alone():
    seeds = EpisodeSeeds()

    def drawn(rows: list[tuple[int, ...]], use: int = 0) -> list[float]:
        with drawn_by_episode(nn.Sequential(seeds), rows, shots=1):
            sequences = seeds.sequences(len(rows), use)
        return [np.random.default_rng(one).random() for one in sequences]

    both = drawn([(0, 1, 2), (0, 1, 3)])
    assert both[0] != both[1]
    assert drawn([(0, 1, 3)]) == both[1:]
    assert drawn([(0, 1, 3)], use=1) != both[1:]
    with pytest.raises(RuntimeError, match="0 seeds for 1 episodes"):
        seeds.sequences(1, 0)
