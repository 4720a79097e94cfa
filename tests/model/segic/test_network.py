from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.predictor import InContextSegmenter
from model.sam.segmenter import NOT_A_POINT, POINT_POSITIVE
from model.segic.decoder import OTHER, OWN
from model.segic.features import Entities
from model.segic.hints import Correspondence, Hints
from model.segic.network import Segic
from model.segic.text import INSTANCE, NO_TEXT
from tests.helpers import coloured_cells
from tests.model.segic.conftest import build


def learn(model: Segic, images, masks, name=None):
    """One concept of K references."""
    features = model.encode(images, support_only=True)
    return model.encode_support(features, masks[None], names=None if name is None else [name])


@torch.no_grad()
def test_the_order_of_shots_does_not_matter(model, images, masks):
    query, order = model.encode(images[3:]), torch.tensor([2, 0, 1])
    found = model.predict(query, learn(model, images[:3], masks)).logits
    turned = model.predict(query, learn(model, images[order], masks[order])).logits
    torch.testing.assert_close(found, turned, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_shots_are_tokens_of_one_concept(model, images, masks):
    support = learn(model, images[:3], masks)
    assert support.prototypes.shape == (1, 3, 48)
    for shot in range(3):
        alone = learn(model, images[shot : shot + 1], masks[shot : shot + 1])
        torch.testing.assert_close(support.prototypes[:, shot], alone.prototypes[:, 0])
    entities = Entities.of([support])
    assert entities.owners.tolist() == [0, 0, 0]


@torch.no_grad()
def test_concepts_that_are_asked_for_together_see_each_other(model, images, masks):
    query = model.encode(images[2:])
    supports = [learn(model, images[:1], masks[i : i + 1]).expand(2) for i in range(2)]
    together = model.predict_together(query, supports)
    alone = [model.predict(query, support) for support in supports]
    for one, other in zip(together, alone, strict=True):
        assert one.logits.shape == other.logits.shape == (2, 112, 112)
        assert not torch.allclose(one.logits, other.logits, atol=1e-3)
    turned = model.predict_together(query, supports[::-1])
    torch.testing.assert_close(turned[1].logits, together[0].logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_many_concepts_are_decoded_in_parts_of_the_same_whole(model, images, masks, monkeypatch):
    query = model.encode(images[2:])
    supports = [learn(model, images[:1], masks[i : i + 1]).expand(2) for i in range(3)]
    whole = model.predict_together(query, supports)
    monkeypatch.setattr("model.segic.network._TOGETHER", 2)
    for one, other in zip(whole, model.predict_together(query, supports), strict=True):
        torch.testing.assert_close(one.logits, other.logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tokens_stand_in_the_order_of_the_weights(model, images, masks):
    """The click, the token that ends clicks, the sentence, then visual tokens by their owners."""
    query = model.encode(images[3:])
    supports = [learn(model, images[i : i + 1], masks[i : i + 1]) for i in range(2)]
    entities = Entities.of(supports)
    correspondence = Correspondence(query.cells, entities.directions, model.image_size)
    hints = model.hints(correspondence, entities, torch.arange(2))
    tokens, decoder = model.decoder.sparse_tokens(hints), model.decoder
    assert tokens.shape == (2, 2 + 1 + 2, 64)
    ended = decoder.prompt_encoder.not_a_point_embed.weight[0]
    torch.testing.assert_close(tokens[:, 1], ended.expand(2, -1))
    torch.testing.assert_close(tokens[:, 2], torch.cat([one.meta for one in supports]))
    types = decoder.inst_type_embed.weight
    for entity in range(2):
        for owner in range(2):
            plain = decoder.inst_proj(supports[owner].prototypes[0, 0])
            kind = OWN if owner == entity else OTHER
            torch.testing.assert_close(tokens[entity, 3 + owner], plain + types[kind])
    untyped = decoder.sparse_tokens(replace(hints, own=None))
    torch.testing.assert_close(untyped[0, 3], decoder.inst_proj(supports[0].prototypes[0, 0]))


@torch.no_grad()
def test_two_clicks_are_two_points(model, images, masks):
    """The released program joins the lists of x and of y, which breaks."""
    query = model.encode(images[3:])
    entities = Entities.of([learn(model, images[:1], masks[i : i + 1]) for i in range(2)])
    correspondence = Correspondence(query.cells, entities.directions, model.image_size)
    one = model.hints(correspondence, entities, torch.arange(2))
    both = model.hints(correspondence, entities, torch.arange(2), negative_clicks=True)
    clicks = one.points[:, 0]
    assert both.points.shape == (2, 3, 2)
    assert torch.equal(both.points[:, :2], clicks.expand(2, 2, 2))
    assert both.labels.tolist() == [[1, 0, -1], [0, 1, -1]]


@torch.no_grad()
def test_what_is_said_changes_the_mask(images, masks):
    query, found = None, {}
    for text in ("name", "none", "instance"):
        model = build(text=text)
        query = model.encode(images[3:])
        found[text] = model.predict(query, learn(model, images[:1], masks[:1], "cat"))
        expected = {"name": "a photo of a cat", "none": NO_TEXT, "instance": INSTANCE}[text]
        support = learn(model, images[:1], masks[:1], "cat")
        torch.testing.assert_close(support.meta, model.meta_tokens([expected]))
    assert not torch.allclose(found["name"].logits, found["none"].logits, atol=1e-3)


@torch.no_grad()
def test_nothing_is_said_of_a_concept_without_a_name(model, images, masks):
    empty = model.meta_tokens([NO_TEXT])
    for name in (None, "object", "class_3"):
        assert torch.equal(learn(model, images[:1], masks[:1], name).meta, empty)


def test_an_empty_mask_is_refused(model, images, masks):
    with pytest.raises(ValueError, match="empty support mask"):
        learn(model, images[:1], torch.zeros_like(masks[:1]))


@torch.no_grad()
def test_masks_of_0_and_1_and_of_0_and_255_say_the_same(model):
    segmenter = InContextSegmenter(model)
    mask = np.zeros((50, 70), dtype=np.uint8)
    mask[10:30, 20:50] = 1
    one, other = (
        segmenter.learn(coloured_cells(9), marked).support for marked in (mask, 255 * mask)
    )
    assert torch.equal(one.prototypes, other.prototypes)
    assert one.prototypes.abs().max() > 0


@torch.no_grad()
def test_a_small_object_says_something_unless_it_may_vanish(images):
    mask = torch.zeros(1, 112, 112)
    mask[0, 15:18, 30:33] = 1
    kept, lost = (learn(build(small_masks_vanish=v), images[:1], mask) for v in (False, True))
    assert kept.prototypes.abs().max() > 0.1
    assert not lost.prototypes.any()


@torch.no_grad()
def test_pictures_of_different_sizes_share_a_batch(model, images, masks):
    """Each is cropped by its own size; the released program takes the first one's for all."""
    sizes = torch.tensor([(112, 56), (56, 112)])
    support = learn(model, images[:1], masks[:1])
    both = model.predict(model.encode(images[2:], sizes=sizes), support.expand(2))
    for row in range(2):
        rows = slice(row, row + 1)
        query = model.encode(images[2:][rows], sizes=sizes[rows])
        alone = model.predict(query, support)
        torch.testing.assert_close(both.logits[rows], alone.logits, atol=1e-4, rtol=1e-4)
        assert both.quality[row] == pytest.approx(alone.quality.item(), abs=1e-4)
    assert (both.logits[0, :, 56:] < -1000).all()
    assert (both.logits[1, 56:] < -1000).all()
    assert (both.logits[1, :56] > -1000).all()


@torch.no_grad()
@pytest.mark.parametrize("side", [56, 84])
def test_every_part_knows_the_same_side(images, masks, side):
    """The released program keeps 896 in half of its code when another side is asked for."""
    model, size = build(image_size=side), (side, side)
    image, mask = (F.interpolate(x, size) for x in (images[:1], masks[None, :1]))
    query = model.encode(image)
    support = model.encode_support(query, mask)
    assert model.geometry.side == side
    assert model.predict(query, support).logits.shape == (1, side, side)


@torch.no_grad()
def test_the_hubs_positions_are_others_than_those_by_size(images):
    """With the released weights other positions are other features."""
    hub = build()
    by_size = build(positions="size")
    state = dict(hub.backbone.network.state_dict())
    state = {name.removeprefix("transformer."): value for name, value in state.items()}
    by_size.backbone.network.load_state_dict(by_size.backbone.network.rename_official(state))
    found, expected = (model.encode(images[:1]).cells for model in (by_size, hub))
    assert 1e-4 < (found - expected).abs().max() < 1


@torch.no_grad()
@pytest.mark.parametrize(
    ("told", "tokens", "changes"),
    [
        ("geometric", 2, {"maps", "points"}),
        ("visual", 3, {"prototypes"}),
        ("meta", 2, {"meta"}),
        ("none", 1, set()),
        ("geometric,visual,meta", 5, {"maps", "points", "prototypes", "meta"}),
    ],
)
def test_the_decoder_reads_the_instructions_that_it_is_given_alone(told, tokens, changes):
    decoder = build(instructions=told).decoder
    random = torch.Generator().manual_seed(1)
    side, width = decoder.image_size, decoder.channels
    channels = decoder.inst_proj.in_features

    def drawn(*shape):
        return torch.randn(shape, generator=random)

    given = Hints(
        drawn(1, side, side),
        torch.tensor([[[30.0, 40.0], [0.0, 0.0]]]),
        torch.tensor([[POINT_POSITIVE, NOT_A_POINT]]),
        drawn(1, width),
        drawn(1, 2, channels),
        torch.tensor([[True, False]]),
    )
    assert decoder.sparse_tokens(given).shape == (1, tokens, width)
    image = decoder.encode_images(drawn(1, channels, side // 14, side // 14))
    expected = decoder.decode_hints(image, given).logits
    others = {
        "maps": drawn(1, side, side),
        "points": torch.tensor([[[90.0, 10.0], [0.0, 0.0]]]),
        "meta": drawn(1, width),
        "prototypes": drawn(1, 2, channels),
    }
    for name, value in others.items():
        found = decoder.decode_hints(image, replace(given, **{name: value})).logits
        assert torch.equal(found, expected) == (name not in changes), name
