import pytest
import torch
from torch import Tensor

from model.sine.config import FormerSize
from model.sine.former import Answer, MFormer, near_peak

SIZE = FormerSize(channels=16, heads=2, hidden=32, layers=3)


def former(refresh_attention: bool = False) -> MFormer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MFormer(5, SIZE, refresh_attention).eval()


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("identities", "classes"), [(0, 1), (2, 1), (3, 4)])
def test_every_layer_answers(identities: int, classes: int):
    given = drawn(2, 16, 6, 6), drawn(2, identities, 16), drawn(2, classes, 16)
    answers = former()(*given, every_layer=True)
    assert len(answers) == 1 + SIZE.layers
    for answer in answers:
        assert answer.identity_logits.shape == (2, identities, 2)
        assert answer.instance_logits.shape == (2, 5, classes + 1)
        assert answer.identity_masks.shape == (2, identities, 24, 24)
        assert answer.instance_masks.shape == (2, 5, 24, 24)
        assert answer.probabilities.shape == (2, 5, classes)
        assert answer.presence.shape == (2, identities)
    [last] = former()(*given)
    assert torch.equal(last.instance_masks, answers[-1].instance_masks)


def test_identities_see_no_queries_and_queries_no_identities():
    model = former()
    tokens = torch.zeros(1, 2 + 5 + 2, SIZE.channels)
    apart = model._apart(2, tokens, None)
    assert not apart[:2, :2].any()
    assert apart[:2, 2:].all()
    assert apart[2:, :2].all()
    assert not apart[2:, 2:].any()


def test_targets_of_a_batch_do_not_know_of_each_other():
    given = drawn(3, 16, 6, 6), drawn(3, 2, 16), drawn(3, 2, 16)
    together = former()(*given)[-1]
    alone = former()(*(tensor[1:2] for tensor in given))[-1]
    torch.testing.assert_close(together.instance_masks[1:2], alone.instance_masks)
    torch.testing.assert_close(together.identity_logits[1:2], alone.identity_logits)


def test_what_fills_a_batch_up_changes_nothing():
    target, identities, classes = drawn(2, 16, 6, 6), drawn(2, 3, 16), drawn(2, 4, 16)
    filling = torch.zeros(2, 3 + 4, dtype=torch.bool)
    filling[1, [1, 2, 6]] = True  # of the second target one identity and three classes are real
    together = former()(target, identities, classes, filling=filling)[-1]
    alone = former()(target[1:], identities[1:, :1], classes[1:, :3])[-1]
    close = torch.testing.assert_close
    close(together.identity_logits[1:, :1], alone.identity_logits)
    close(together.identity_masks[1:, :1], alone.identity_masks)
    close(together.instance_masks[1:], alone.instance_masks)
    close(together.instance_logits[1:, :, [0, 1, 2, 4]], alone.instance_logits)


@pytest.mark.parametrize(("refresh", "times"), [(False, 1), (True, SIZE.layers)])
def test_layers_look_where_the_first_masks_are_unless_masks_are_refreshed(
    refresh: bool, times: int, monkeypatch
):
    asked = []
    outside = MFormer.outside
    monkeypatch.setattr(
        MFormer, "outside", staticmethod(lambda *given: asked.append(given) or outside(*given))
    )
    given = drawn(1, 16, 6, 6), drawn(1, 1, 16), drawn(1, 1, 16)
    found = former(refresh)(*given)[-1].instance_masks
    assert len(asked) == times
    assert torch.allclose(found, former()(*given)[-1].instance_masks) == (not refresh)


def test_an_empty_mask_blocks_nothing():
    masks = torch.full((1, 2, 8, 8), -1.0)
    masks[0, 1, :4] = 1.0
    answer = Answer(*(torch.zeros(1, 1, 2),) * 2, masks[:, :1], masks[:, 1:], masks)
    blocked = former().blocked(answer, 2)
    assert blocked.tolist() == [[[False] * 4, [False, False, True, True]]]


def test_correlations_fade_from_their_peak():
    correlation = torch.full((1, 1, 12 * 12), 0.5)
    correlation[..., 3 * 12 + 4] = 0.9
    faded = near_peak(correlation, 12).view(12, 12)
    assert faded[3, 4] == pytest.approx(0.9)
    assert faded[3, 5] == faded[2, 4] == pytest.approx(0.5 * 0.99501248)  # exp(-1 / 200)
    assert faded[11, 4] == pytest.approx(0.5 * 0.72614904)  # exp(-64 / 200)
