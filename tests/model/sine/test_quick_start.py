"""How fresh weights of the tiny size begin."""

import copy

import pytest
import torch

from model.sine.config import FormerSize
from model.sine.former import MFormer
from model.sine.layers import Neck
from model.sine.quick_start import begin_quickly


@pytest.fixture(scope="module")
def fresh():
    torch.manual_seed(0)
    return Neck(12, 16), MFormer(4, FormerSize(16, 4, 32, 2))


@pytest.fixture(scope="module")
def begun(fresh):
    parts = copy.deepcopy(fresh)
    begin_quickly(*parts)
    return parts


def test_the_neck_says_the_same(fresh, begun):
    features = torch.randn(2, 12, 5, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(begun[0](features), fresh[0](features), rtol=0, atol=1e-4)


def test_a_step_turns_the_neck_a_twentieth_as_far(fresh, begun):
    features = torch.randn(2, 12, 5, 5, generator=torch.Generator().manual_seed(1))
    turned = []
    for neck in (fresh[0], begun[0]):
        neck = copy.deepcopy(neck)
        before = neck(features).detach()
        weights = [part.weight for part in (neck[0], neck[2])]
        optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0)
        neck(features)[:, 0].sum().backward()
        optimizer.step()
        turned.append((neck(features) - before).norm().item())
    assert turned[0] / turned[1] == pytest.approx(20, rel=0.05)


def test_queries_hold_the_mean_of_what_they_look_at(begun):
    layer = begun[1].layers[0]
    seen = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(2))
    blocked = torch.tensor([False, False, True, True, True, True]).expand(1, 3, 6)
    same = torch.zeros(1, 6, 16)  # keys: all places that are seen count alike
    attended = layer.cross_attention(torch.randn(1, 3, 16), same, seen, blocked)
    torch.testing.assert_close(attended, seen[:, :2].mean(1, keepdim=True).expand(1, 3, 16))
