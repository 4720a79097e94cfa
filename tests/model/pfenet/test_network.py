"""PFENet on tiny networks: against loops, by hand, and what learns, drops out and is refused."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoint import learnable_weights
from model.layers import drawn_by_episode
from model.pfenet.builder import build_pfenet
from model.pfenet.config import SCALES, PfenetLossOptions, PfenetOptions
from model.pfenet.enrichment import EpisodeDropout, FeatureEnrichment, object_logits
from model.pfenet.network import Pfenet, PfenetSupport, mask_on_map
from model.pfenet.released_names import released_name
from model.registry import METHODS
from tests.helpers import Episodes, enliven_backbone, random_episodes
from tests.model.pfenet import slow_reference

TINY = PfenetOptions(backbone="tiny", random_weights=True, image_size=64, scales="shares", width=4)


def tiny_pfenet(**options: object) -> Pfenet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_pfenet(replace(TINY, **options))
        enliven_backbone(model.backbone)
    return model.eval()


def labelled(episodes: Episodes) -> SimpleNamespace:
    """What a loss needs; of the query the first reference's mask is true, its border ignored."""
    ignore = torch.zeros_like(episodes.masks[:, 0], dtype=torch.bool)
    ignore[:, :4] = True
    return SimpleNamespace(
        support_masks=episodes.masks,
        support_kinds=None,
        query_mask=episodes.masks[:, 0],
        query_ignore=ignore,
    )


def losses(model: Pfenet, episodes: Episodes, weight: float = 1.0) -> dict[str, Tensor]:
    support = model.encode(episodes.support.flatten(0, 1), support_only=True)
    query = model.encode(episodes.query)
    return model.training_loss(query, support, labelled(episodes), PfenetLossOptions(weight))


@pytest.mark.parametrize("backbone", ["tiny", "vgg16"])
def test_what_follows_the_backbone_is_what_loops_compute(backbone: str):
    model = tiny_pfenet(backbone=backbone, shrunk=True)
    episodes = random_episodes(1, batch=1, shots=2)
    references, query = model.encode(episodes.support[0]), model.encode(episodes.query)
    with torch.no_grad():
        found, scales = model.segment(query, model.encode_support(references, episodes.masks))

    def plain(tensor: Tensor) -> np.ndarray:
        return tensor.detach().double().numpy()

    def reduced(name: str, maps: np.ndarray) -> np.ndarray:
        return np.maximum(slow_reference.convolve(maps, plain(model.get_parameter(name))), 0)

    trunk, middle = references.maps.backbone.trunk, plain(references.maps.backbone.middle)
    side = trunk.shape[-1]
    masks = slow_reference.resize(plain(episodes.masks[0]), side)
    hidden = model.backbone.network.high(trunk * torch.from_numpy(masks).float()[:, None])
    prior = slow_reference.prior(plain(query.maps.high[0]), plain(hidden), masks)
    supports = np.stack([reduced("reduce_support.0.weight", one) for one in middle])
    cells = reduced("reduce_query.0.weight", plain(query.maps.backbone.middle[0]))
    weights = {released_name(name): plain(value) for name, value in model.named_parameters()}
    logits, of_scales = slow_reference.enrich(
        cells,
        slow_reference.prototype(supports, masks),
        prior,
        weights,
        [max(1, int(side * share)) for share in (1, 0.5, 0.25, 0.125)],
    )

    for ours, slow in zip((found, *scales), (logits, *of_scales), strict=True):
        large = slow_reference.resize(slow[None], 64)[0]
        assert np.abs(large).max() > 0.01
        np.testing.assert_allclose(plain(ours[0]), large, rtol=1e-3, atol=1e-5)


def test_scales_are_cells_or_shares_of_the_map():
    fixed, shares = (FeatureEnrichment(1, SCALES[name], 0) for name in ("fixed", "shares"))
    assert fixed.sides(60) == fixed.sides(30) == [60, 30, 15, 8]
    assert shares.sides(81) == [81, 40, 20, 10]
    assert shares.sides(60) == [60, 30, 15, 7]
    assert shares.sides(4) == [4, 2, 1, 1]


def test_two_classes_become_one_logit():
    classes = torch.tensor([[[[1.0]], [[3.0]]]])
    assert object_logits(classes).item() == 2
    assert object_logits(classes).sigmoid().item() == pytest.approx(classes.softmax(1)[0, 1].item())


def test_a_mask_is_interpolated_corner_upon_corner_and_never_lost():
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, :2, :2] = 1  # 4 to 3: places 0, 1.5 and 3
    mask[1, 0, 1, 1] = 1  # 4 to 2: the corners alone
    assert mask_on_map(mask, 3)[0, 0].tolist() == [[1, 0.5, 0], [0.5, 0.25, 0], [0, 0, 0]]
    assert mask_on_map(mask, 2)[:, 0].tolist() == [[[1, 0], [0, 0]], [[1, 0], [0, 0]]]


def test_shots_are_averaged_and_their_order_does_not_matter():
    model, episodes = tiny_pfenet(), random_episodes(2, batch=1, shots=3)

    def support(shots: list[int]) -> PfenetSupport:
        encoded = model.encode(episodes.support[0, shots], support_only=True)
        return model.encode_support(encoded, episodes.masks[:, shots])

    with torch.no_grad():
        query = model.encode(episodes.query)
        alone = [support([shot]).prototype for shot in range(3)]
        there, back = (model.predict(query, support(order)) for order in ([0, 1, 2], [2, 1, 0]))
        torch.testing.assert_close(support([0, 1, 2]).prototype, sum(alone) / 3)
    torch.testing.assert_close(there.logits, back.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there.presence, back.presence)


def test_one_concept_serves_many_queries_and_episodes_do_not_see_each_other():
    model, episodes = tiny_pfenet(), random_episodes(3, batch=2)
    with torch.no_grad():
        support = model.encode(episodes.support.flatten(0, 1), support_only=True)
        both = model.predict(
            model.encode(episodes.query), model.encode_support(support, episodes.masks)
        )
        second = model.encode_support(support[1:], episodes.masks[1:])
        found = model.predict(model.encode(episodes.query), second.expand(2))
    torch.testing.assert_close(found.logits[1:], both.logits[1:], rtol=1e-4, atol=1e-5)
    assert found.logits.shape == (2, 64, 64)
    assert found.signals.shape == (2, 3)


def test_nothing_is_found_beside_the_picture():
    model, episodes = tiny_pfenet(), random_episodes(4, batch=1)
    with torch.no_grad():
        model.enrichment.classify_all[3].bias[1] = 100.0
        support = model.encode_support(model.encode(episodes.support[0]), episodes.masks)
        found = model.predict(model.encode(episodes.query, sizes=torch.tensor([[24, 48]])), support)
    assert (found.logits[:, :32] > 0).all()
    assert (found.logits[:, 32:] < 0).all()


def test_an_empty_reference_is_refused():
    model, episodes = tiny_pfenet(), random_episodes(4, batch=1)
    with pytest.raises(ValueError, match="empty support mask"):
        model.encode_support(model.encode(episodes.support[0]), 0 * episodes.masks)


def test_the_loss_is_cross_entropy_of_what_counts():
    model, episodes = tiny_pfenet(), random_episodes(5)
    with torch.no_grad():
        for part in (*model.enrichment.classify, model.enrichment.classify_all):
            part[3].weight.zero_()
            part[3].bias.copy_(torch.tensor([0.0, math.log(3)]))  # the object has 3/4 everywhere
        found = losses(model, episodes, weight=0.5)
    counted = episodes.masks[:, 0, 4:].flatten(1).mean(1)
    expected = -(counted * math.log(3 / 4) + (1 - counted) * math.log(1 / 4)).mean()
    assert found["mask"].item() == pytest.approx(expected.item())
    assert found["auxiliary"].item() == pytest.approx(0.5 * expected.item())


def test_all_that_learns_gets_gradients_and_the_backbone_none():
    model = tiny_pfenet(width=16).train()
    sum(losses(model, random_episodes(6)).values()).backward()
    learned = learnable_weights(model)
    assert not any(name.startswith("backbone.") for name in learned)
    assert all(float(value.grad.abs().sum()) > 0 for value in learned.values())
    assert not any(module.training for module in model.backbone.modules())


def test_channels_are_dropped_by_episode_and_layer():
    features = torch.ones(4, 200, 2, 2)  # two episodes of two references
    layers = torch.nn.ModuleList([EpisodeDropout(0.5, use) for use in (0, 1)])
    assert layers[0](features) is features
    with drawn_by_episode(layers, [(0, 0, 7), (0, 0, 8)], 2):
        first, other = (layer(features) for layer in layers)
    with drawn_by_episode(layers, [(0, 0, 8)], 2):
        alone = layers[0](features[2:])
    assert torch.equal(first[2:], alone)
    assert set(first.unique().tolist()) == {0, 2}
    assert (first.flatten(2).std(2) == 0).all()
    for one, two in ((first[0], first[1]), (first[1], first[2]), (first[0], other[0])):
        assert not torch.equal(one, two)
    assert 0.4 < (first > 0).float().mean() < 0.6


def test_parameters_are_as_many_as_the_paper_says():
    counts = {}
    for backbone in ("resnet50", "vgg16"):
        with torch.device("meta"):
            model = build_pfenet(PfenetOptions(backbone=backbone, random_weights=True))
        counts[backbone] = sum(value.numel() for value in learnable_weights(model).values())
    assert counts == {"resnet50": 10_817_034, "vgg16": 10_423_818}  # 10.8 million


def test_stages_3_and_4_are_dilated_from_their_first_block_on():
    with torch.device("meta"):
        network = build_pfenet(PfenetOptions(random_weights=True)).backbone.network
    for stage, dilation in ((network.layer3, 2), (network.layer4, 4)):
        assert {block.conv2.dilation for block in stage} == {(dilation, dilation)}
        assert {block.conv2.padding for block in stage} == {(dilation, dilation)}


def test_it_needs_a_checkpoint_and_names_its_file_and_problems():
    assert not METHODS["pfenet"].ready
    assert PfenetOptions().files() == ("resnet50",)
    assert TINY.files() == ()
    wrong = PfenetOptions(image_size=8, width=0).problems()
    assert wrong == [
        "--image_size must be at least 32, not 8",
        "--width must be at least 1, not 0",
    ]
    assert PfenetLossOptions(-1.0).problems() == ["--auxiliary_weight cannot be negative"]
