import numpy as np
import pytest
import torch

from common.errors import UsageError
from model.checkpoint import learnable_weights
from model.predictor import InContextSegmenter
from model.sine.builder import restore_sine
from model.sine.config import SineOptions
from model.sine.network import Sine
from tests.helpers import coloured_cells
from tests.model.sine.conftest import shrunk_sine

MASK = np.zeros((50, 70), dtype=bool)
MASK[10:30, 20:50] = True
OTHER = np.zeros((50, 70), dtype=bool)
OTHER[30:, :20] = True


def learned(model: Sine, *shots: tuple[int, np.ndarray]):
    """A support of pictures by their seeds."""
    images = torch.stack([model.geometry.image(coloured_cells(seed)) for seed, _ in shots])
    marks = torch.stack([model.geometry.mark(mask) for _, mask in shots])
    with torch.no_grad():
        return model.encode_support(model.encode(images), marks[None])


def query(model: Sine, seed: int = 1):
    with torch.no_grad():
        return model.encode(model.geometry.image(coloured_cells(seed))[None])


def test_the_order_of_shots_does_not_matter(model):
    shots = (9, MASK), (7, OTHER), (5, MASK)
    found, turned = (
        model.predict(query(model), learned(model, *some)).logits for some in (shots, shots[::-1])
    )
    torch.testing.assert_close(found, turned, atol=1e-4, rtol=0)


def test_concepts_know_of_each_other(model):
    first, second = learned(model, (9, MASK)), learned(model, (9, OTHER))
    together = model.predict_together(query(model), [first, second])
    alone = model.predict(query(model), first)
    assert not torch.allclose(together[0].logits, alone.logits, atol=1e-3)
    turned = model.predict_together(query(model), [second, first])
    torch.testing.assert_close(together[1].logits, turned[0].logits, atol=1e-4, rtol=0)


def test_logits_are_above_0_where_scores_are_above_the_threshold(model):
    support = learned(model, (9, MASK))
    usual, low = model, shrunk_sine(threshold=0.1)
    difference = (
        low.predict(query(low), support).logits - usual.predict(query(usual), support).logits
    )
    torch.testing.assert_close(difference, torch.full_like(difference, 6.0), atol=1e-4, rtol=0)


def test_identities_take_no_part_in_instances(model):
    support = learned(model, (9, MASK))
    answer = model.ask(query(model), [support], identities=False)
    assert answer.identity_masks.shape[1] == 0
    [found] = model.find_instances(query(model), [support], [(50, 70)])
    best = answer.probabilities.flatten().max()
    assert 0 < found.scores.max() <= best


def test_published_behaviour_is_reached_by_switches():
    usual = SineOptions(size="s", shrunk=True)
    switches = (usual.plain_pooling, usual.inclusive_boxes, usual.refresh_attention_mask)
    assert not any(switches)
    assert (usual.channel_order, usual.overlap, usual.echo_given, usual.age_step) == (
        *("rgb", "best"),
        *(True, 1.0),
    )
    model = shrunk_sine(
        plain_pooling=True,
        inclusive_boxes=True,
        channel_order="bgr",
        overlap="last",
        echo_given=False,
        age_step=5.0,
        fit="squashed",
    )
    assert model.rules.plain_pooling
    assert model.rules.inclusive_boxes
    assert model.geometry.channel_order == model.tracking_geometry.channel_order == "bgr"
    assert (model.geometry.fit, model.instance_geometry.fit) == ("squashed", "whole")
    rules = model.video([]).rules
    assert (rules.overlap, rules.echo_given, rules.age_step) == ("last", False, 5.0)


def test_thin_references_are_seen_unless_pooling_is_plain():
    thin = torch.zeros(1, 1, 112, 112)
    thin[..., 7] = 1
    for plain in (False, True):
        model = shrunk_sine(plain_pooling=plain)
        with torch.no_grad():
            support = model.encode_support(query(model), thin)
        assert bool(support.identities.any()) == (not plain)


def test_gradients_reach_the_neck_and_nothing_frozen():
    model = shrunk_sine().train()
    assert not model.backbone.training
    images = torch.stack([model.geometry.image(coloured_cells(seed)) for seed in (1, 9)])
    features = model.encode(images)
    support = model.encode_support(features[1:], model.geometry.mark(MASK)[None, None])
    answer = model.ask(features[:1], [support])
    (answer.instance_masks.mean() + answer.identity_logits.sum()).backward()
    assert model.neck[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in model.backbone.parameters())


def test_features_without_gradients_outside_of_training(model):
    images = model.geometry.image(coloured_cells(1))[None]
    assert not model.encode(images).maps.requires_grad


def test_an_empty_mask_is_refused(model):
    with pytest.raises(ValueError, match="empty support mask"):
        model.encode_support(query(model), torch.zeros(1, 1, 112, 112))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"image_size": 100}, "--image_size must be a multiple of 14"),
        ({"video_size": 28}, "--video_size must be a multiple of 14 from 112 on"),
        ({"queries": 0}, "--queries"),
        ({"threshold": 0.0}, "--threshold"),
        ({"memory": 1}, "--memory"),
        ({"decay_span": 0.0}, "--decay_span"),
        ({"shrunk": True, "released": "file.bin"}, "--shrunk"),
        ({"size": "tiny", "dino_weights": "file.pth"}, "--size tiny"),
    ],
)
def test_options_that_cannot_be_used(wrong, complaint):
    assert any(complaint in problem for problem in SineOptions(**wrong).problems())


def test_what_was_never_published_has_to_be_trained():
    for options, reason in (
        ({"size": "b"}, "published for size l, none for b"),
        ({"released": "fresh"}, "its weights are to be fresh"),
    ):
        with pytest.raises(UsageError, match=f"SINE has to be trained: .*{reason}"):
            InContextSegmenter.from_method("sine", device="cpu", **options)


def test_which_files_are_read():
    assert SineOptions().files() == ("sine",)
    assert SineOptions(size="b").files() == ("dinov2_b",)
    assert SineOptions(released="fresh").files() == ("dinov2_l",)
    assert SineOptions(size="tiny").files() == ()
    assert SineOptions().trained_on()["sources"] == "ade20k_panoptic,coco_panoptic,objects365"
    assert SineOptions(size="b").trained_on() is None


def test_what_learned_is_saved_and_read_again(model):
    weights = {name: value.detach() + 0.5 for name, value in learnable_weights(model).items()}
    assert all(name.startswith(("neck.", "former.")) for name in weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        again = restore_sine(SineOptions(size="s", shrunk=True, queries=6), weights, "last")
    assert torch.equal(again.former.temperature, model.former.temperature + 0.5)
    assert model.untrained
    assert not again.untrained


def test_an_image_is_segmented_by_the_tiny_network():
    segmenter = InContextSegmenter.from_method("sine", device="cpu", size="tiny")
    assert segmenter.caution == ("what draws its masks was never trained: expect nothing of them")
    concept = segmenter.learn(coloured_cells(9), MASK)
    assert segmenter.segment(coloured_cells(1, (40, 90)), concept).mask.shape == (90, 40)
