import math

import pytest
import torch

from model.layers import sine_position


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
