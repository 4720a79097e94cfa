from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from model.method_options import LossOptions
from model.sam.sam2 import Sam2
from model.sansa.builder import build_sansa
from model.sansa.config import SansaOptions
from model.sansa.features import EncodedImages, Support
from model.sansa.network import Sansa
from tests.helpers import random_episodes
from tests.model.sansa.conftest import TINY, lively_sansa


def support_of(model: Sansa, seed: int = 1, batch: int = 1, shots: int = 1, kinds=None) -> Support:
    episodes = random_episodes(seed, batch, shots)
    return model.encode_support(model.encode(episodes.support.flatten(0, 1)), episodes.masks, kinds)


@torch.no_grad()
def test_a_batch_is_as_one_after_the_other(model: Sansa):
    kinds = [["mask", "box"], ["point", "mask"]]
    episodes = random_episodes(1, 2, 2)
    images = model.encode(episodes.support.flatten(0, 1))
    queries = model.encode(episodes.query)
    together = model.predict(queries, model.encode_support(images, episodes.masks, kinds))
    for row in range(2):
        support = model.encode_support(
            images[2 * row : 2 * row + 2], episodes.masks[row : row + 1], kinds[row : row + 1]
        )
        alone = model.predict(queries[row : row + 1], support)
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.presence[row], alone.presence[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_one_concept_serves_any_number_of_queries(model: Sansa):
    queries = model.encode(random_episodes(3, 3).query)
    support = support_of(model)
    found = model.predict(queries, support)
    assert found.logits.shape == (3, 64, 64)
    assert found.presence.shape == found.quality.shape == (3,)
    assert ((found.presence >= 0) & (found.presence <= 1)).all()
    alone = model.predict(queries[1:2], support)
    torch.testing.assert_close(found.logits[1], alone.logits[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_order_of_references_counts_as_it_does_in_the_release(model: Sansa):
    episodes = random_episodes(4, 1, 2)
    images, queries = model.encode(episodes.support[0]), model.encode(episodes.query)
    swapped = EncodedImages.join([images[1:2], images[0:1]])
    one = model.predict(queries, model.encode_support(images, episodes.masks))
    other = model.predict(queries, model.encode_support(swapped, episodes.masks.flip(1)))
    assert (one.logits - other.logits).abs().max() > 1e-3


@torch.no_grad()
def test_of_nine_references_two_are_seen_by_their_pointers_only(model: Sansa):
    support = support_of(model, shots=9)
    bank = support.remembered(model.segmenter)
    assert list(bank.prompted) == [0]
    seen = {index: memory.features is not None for index, memory in bank.tracked.items()}
    assert seen == {1: False, 2: False, 3: True, 4: True, 5: True, 6: True, 7: True, 8: True}


@torch.no_grad()
def test_a_mask_touches_pixels_and_is_not_thinned(model: Sansa):
    mask = torch.zeros(1, 64, 64)
    mask[0, 10, 10] = 1
    touched = model.touched(mask)  # 256 x 256: four times as large, bilinear
    assert touched.shape == (1, 1, 256, 256)
    assert touched.sum() == 8 * 8


@torch.no_grad()
def test_what_is_remembered_of_a_mask_was_reduced(model: Sansa):
    features = model.encode(random_episodes(1).support[:1, 0]).sam
    mask = torch.zeros(1, 64, 64)
    mask[0, 16:48, 16:48] = 1
    found, drawn = model.take_masks(features, mask)
    assert found.logits.shape == drawn.shape == (1, 1, 64, 64)
    assert found.logits.max() <= 10 + 1e-4
    assert found.logits.min() >= -10 - 1e-4
    assert (found.logits[0, 0] > 0)[16:48, 16:48].all()


@torch.no_grad()
def test_thinned_scribbles_have_fewer_tokens(model: Sansa, monkeypatch):
    lengths = []
    decode = model.segmenter.decode_all

    def note(features, tokens, dense=None):
        lengths.append(tokens.shape[1])
        return decode(features, tokens, dense)

    monkeypatch.setattr(model.segmenter, "decode_all", note)
    support_of(model, kinds=[["scribble"]])
    monkeypatch.setattr(model, "most_points", 16)
    support_of(model, kinds=[["scribble"]])
    assert lengths[0] == 1 + random_episodes(1, 1).masks.sum()
    assert lengths[1] == 1 + 16


def test_an_empty_mask_is_refused(model: Sansa):
    images = model.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="empty support mask"):
        model.encode_support(images, torch.zeros(1, 1, 64, 64))


@torch.no_grad()
def test_half_precision_finds_the_same(model: Sansa):
    episodes = random_episodes(1)

    def logits() -> Tensor:
        images = model.encode(episodes.support.flatten(0, 1))
        support = model.encode_support(images, episodes.masks, [["mask"], ["box"]])
        return model.predict(model.encode(episodes.query), support).logits

    expected = logits()
    with torch.autocast("cpu", torch.bfloat16):
        found = logits()
    assert found.dtype == torch.float32
    assert ((found > 0) == (expected > 0)).float().mean() > 0.97


@torch.no_grad()
def test_evaluation_computes_no_gradients(model: Sansa):
    assert not model.encode(torch.zeros(1, 3, 64, 64)).sam.embedding.requires_grad


class Labels(NamedTuple):
    support_masks: Tensor
    query_mask: Tensor
    query_ignore: Tensor
    support_kinds: tuple[tuple[str, ...], ...]
    support_objects: tuple[Tensor, ...] = ()


def test_only_adapters_receive_gradients():
    model = lively_sansa().train()
    episodes = random_episodes(1)
    labels = Labels(
        episodes.masks,
        episodes.masks[:, 0],
        torch.zeros(2, 64, 64, dtype=torch.bool),
        (("mask",),) * 2,
    )
    losses = model.training_loss(
        model.encode(episodes.query),
        model.encode(episodes.support.flatten(0, 1)),
        labels,
        LossOptions(loss="focal"),
    )
    sum(losses.values()).backward()
    touched = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    learning = {n for n, p in model.named_parameters() if ".adapter." in n}
    assert touched == learning
    assert not model.segmenter.training


def test_sam_2_loses_its_object_scores_alone():
    with_scores = Sam2("tiny").official.state_dict()
    without = build_sansa(TINY).segmenter.official.state_dict()
    dropped = {name.split(".")[1] if "." in name else name for name in with_scores.keys() - without}
    assert dropped == {
        "no_obj_ptr",
        "no_obj_embed_spatial",
        "obj_score_token",
        "pred_obj_score_head",
    }


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"factor": 0.0}, "--factor"),
        ({"most_points": 0}, "--most_points"),
        ({"image_size": 8}, "--image_size"),
        ({"shrunk": True, "adapters": "sansa_fss"}, "--shrunk"),
    ],
)
def test_options_that_cannot_be_used(wrong, complaint):
    assert any(complaint in problem for problem in SansaOptions(**wrong).problems())
