"""VRP-SAM on tiny networks: shots, kinds of references, what learns, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.errors import UsageError
from common.kinds import KINDS
from model.checkpoint import learnable_weights
from model.registry import METHODS
from model.vrp_sam.builder import build_vrp_sam
from model.vrp_sam.config import VrpSamOptions
from model.vrp_sam.network import VrpSam

TINY = VrpSamOptions(
    backbone="tiny", sam_model="tiny", random_weights=True, image_size=64, num_query=5
)


def tiny_vrp_sam(**options: object) -> VrpSam:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_vrp_sam(replace(TINY, **options)).eval()


def pictures(seed: int, count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def squares(*corners: int) -> Tensor:
    """A square of 24 pixels at each corner, N x 64 x 64."""
    masks = torch.zeros(len(corners), 64, 64)
    for mask, corner in zip(masks, corners, strict=True):
        mask[corner : corner + 24, corner : corner + 24] = 1
    return masks


@torch.no_grad()
def segment(model: VrpSam, masks: Tensor, kinds: list[list[str]] | None = None) -> Tensor:
    """Logits of B queries by B x K references."""
    batch, shots = masks.shape[:2]
    support = model.encode(pictures(1, batch * shots), support_only=True)
    concept = model.encode_support(support, masks, kinds)
    return model.predict(model.encode(pictures(2, batch)), concept).logits


def test_every_shot_speaks_for_itself():
    model = tiny_vrp_sam()
    query = model.encode(pictures(2, 1))
    masks = squares(0, 10, 30)
    with torch.no_grad():
        together = model.encode_support(model.encode(pictures(1, 3)), masks[None])
        tokens = model.prompt(query, together)
        alone = [
            model.prompt(query, model.encode_support(model.encode(picture[None]), mask[None, None]))
            for picture, mask in zip(pictures(1, 3), masks, strict=True)
        ]
    assert tokens.shape == (1, 15, 128)
    torch.testing.assert_close(tokens, torch.cat(alone, dim=1), rtol=1e-4, atol=1e-5)


def test_samples_of_a_batch_do_not_see_each_other():
    model = tiny_vrp_sam()
    masks = squares(0, 10, 20, 30).view(2, 2, 64, 64)
    support, query = model.encode(pictures(1, 4)), model.encode(pictures(2, 2))
    with torch.no_grad():
        both = model.predict(query, model.encode_support(support, masks))
        second = model.predict(query[1:], model.encode_support(support[2:], masks[1:]))
    torch.testing.assert_close(both.logits[1:], second.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both.presence[1:], second.presence, rtol=1e-4, atol=1e-5)


def test_one_concept_serves_many_queries():
    model = tiny_vrp_sam()
    with torch.no_grad():
        concept = model.encode_support(model.encode(pictures(1, 2)), squares(0, 10)[None])
        query = model.encode(pictures(2, 3))
        found = model.predict(query, concept.expand(3))
        alone = model.predict(query[2:], concept)
    torch.testing.assert_close(found.logits[2:], alone.logits, rtol=1e-4, atol=1e-4)
    assert found.logits.shape == (3, 64, 64)
    assert found.signals.shape == (3, 3)
    assert ((found.presence >= 0) & (found.presence <= 1)).all()


def test_points_and_scribbles_mark_what_they_touch_and_the_release_loses_them():
    point = torch.zeros(1, 1, 64, 64)
    point[..., 13, 21] = 1  # the map has 8 x 8 places, each of 8 pixels; nearest takes 8 and 16
    for wiring, kind, places in (
        ("paper", "point", [[1, 2]]),
        ("paper", "scribble", [[1, 2]]),
        ("paper", "mask", [[1, 2]]),  # it would vanish
        ("release", "point", []),
        ("release", "mask", []),
    ):
        model = tiny_vrp_sam(wiring=wiring)
        with torch.no_grad():
            concept = model.encode_support(model.encode(pictures(1, 1)), point, [[kind]])
        assert concept.masks[0, 0].nonzero().tolist() == places, (wiring, kind)


def test_a_mask_comes_to_the_map_by_its_nearest_pixels_and_a_scribble_by_all():
    mark = torch.zeros(1, 2, 64, 64)
    mark[..., 8:17, 20] = mark[..., 0, 0] = 1
    model = tiny_vrp_sam()
    with torch.no_grad():
        concept = model.encode_support(model.encode(pictures(1, 2)), mark, [["mask", "scribble"]])
    assert concept.masks[0, 0].nonzero().tolist() == [[0, 0]]
    assert concept.masks[0, 1].nonzero().tolist() == [[0, 0], [1, 2], [2, 2]]


def test_it_takes_all_kinds_and_refuses_an_empty_reference():
    model = tiny_vrp_sam()
    model.refuse_kinds(KINDS)
    with pytest.raises(UsageError, match="dc_sam takes no point as a reference"):
        METHODS["dc_sam"].build(
            METHODS["dc_sam"].options(backbone="tiny", sam_model="tiny", random_weights=True)
        ).refuse_kinds(["point"])
    with pytest.raises(ValueError, match="empty support mask"):
        segment(model, torch.stack([squares(0), torch.zeros(1, 64, 64)], dim=1))


def test_only_the_generator_learns_and_frozen_parts_stay_as_they_are():
    model = tiny_vrp_sam().train()
    names = learnable_weights(model)
    assert names
    assert all(name.startswith("generator.") for name in names)
    assert not model.backbone.training
    assert not model.segmenter.training
    assert not any("query_position" in name for name in names)


def test_references_are_not_seen_by_sam(monkeypatch: pytest.MonkeyPatch):
    model = tiny_vrp_sam()
    seen = []
    encode = model.segmenter.encode
    monkeypatch.setattr(model.segmenter, "encode", lambda x: seen.append(len(x)) or encode(x))
    segment(model, squares(0, 10)[None])
    assert seen == [1]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"num_query": 0}, "--num_query must be at least 1"),
        ({"sam_model": "sam2.1_hiera_t"}, "is no SAM version 1"),
        ({"image_size": 100}, "--image_size must be a multiple of 32"),
    ],
)
def test_options_that_cannot_be_used_are_named(options: dict, problem: str):
    assert any(problem in found for found in replace(TINY, **options).problems())


def test_it_needs_a_checkpoint_and_names_its_files():
    assert not METHODS["vrp_sam"].ready
    assert VrpSamOptions().files() == ("resnet50", "vit_h")
    assert TINY.files() == ()
    assert VrpSamOptions.from_json(TINY.to_json(), "a header") == TINY
