import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from common.pixels import normalize
from model.matcher.builder import build_matcher
from model.matcher.config import MatcherOptions
from model.matcher.features import MatcherFeatures
from model.matcher.network import Matcher
from model.matcher.pictures import grey_levels
from model.registry import METHODS
from tests.model.matcher.scenes import SIDE, scene


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return build_matcher(MatcherOptions(size="tiny", setting="fss"))


def iou(found: Tensor, mask: Tensor) -> float:
    return ((found & mask).sum() / (found | mask).sum()).item()


@pytest.fixture(scope="module")
def targets(matcher: Matcher) -> MatcherFeatures:
    return matcher.encode(torch.cat([scene(60, 20)[0], scene(16, 64)[0]]))


def support(matcher: Matcher, *places: tuple[int, int]):
    pictures, masks = zip(*(scene(*place) for place in places), strict=True)
    encoded = matcher.encode(torch.cat(pictures), support_only=True)
    assert encoded.sam is None
    return matcher.encode_support(encoded, torch.cat(masks, dim=1))


def test_the_object_is_found_where_it_moved(matcher: Matcher, targets: MatcherFeatures):
    found = matcher.predict(targets, support(matcher, (40, 40)).expand(2))
    for i, place in enumerate([(60, 20), (16, 64)]):
        assert iou(found.logits[i] > 0, scene(*place)[1][0, 0] > 0) > 0.8
    assert found.logits.unique().tolist() == [-1, 1]
    assert found.logits.dtype == torch.float32
    assert ((found.presence >= 0) & (found.presence <= 1)).all()
    assert found.signals.shape == (2, 3)
    for mask, objects in zip(found.logits > 0, found.objects, strict=True):
        assert objects.dtype == torch.bool
        assert 1 <= len(objects) <= matcher.setting.merge
        assert torch.equal(objects.any(0), mask)


@pytest.mark.parametrize("setting", ["objects", "parts"])
def test_other_settings_find_it_too(targets: MatcherFeatures, setting: str):
    matcher = build_matcher(MatcherOptions(size="tiny", setting=setting))
    found = matcher.predict(targets[:1], support(matcher, (40, 40)))
    assert iou(found.logits[0] > 0, scene(60, 20)[1][0, 0] > 0) > 0.8


def test_a_batch_equals_one_by_one(matcher: Matcher, targets: MatcherFeatures):
    learned = support(matcher, (40, 40), (10, 70))
    both = matcher.predict(targets, learned.expand(2))
    for i in range(2):
        alone = matcher.predict(targets[i : i + 1], learned)
        assert torch.equal(alone.logits[0], both.logits[i])
        torch.testing.assert_close(alone.presence[0], both.presence[i])
    again = MatcherFeatures.join([targets[1:], targets[:1]])
    swapped = matcher.predict(again, learned.expand(2))
    assert torch.equal(swapped.logits, both.logits.flip(0))


def test_draws_depend_on_seed_and_picture_alone(targets: MatcherFeatures):
    def drawn(seed: int, key: int) -> list:
        own = build_matcher(MatcherOptions(size="tiny", prompt_seed=seed))
        return [one.tolist() for one in own.draw_subsets(points, key)]

    points = np.arange(60).reshape(30, 2)
    keys = targets.keys.tolist()
    first = drawn(0, keys[0])
    np.random.seed(3)
    torch.manual_seed(3)
    assert drawn(0, keys[0]) == first
    assert drawn(1, keys[0]) != first
    assert drawn(0, keys[1]) != first


def test_grey_levels_come_back_exactly():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    found = grey_levels(normalize(levels)[None])[0].permute(1, 2, 0)
    assert np.array_equal(found.numpy(), levels)


def test_several_shots_are_stacked(matcher: Matcher):
    learned = support(matcher, (40, 40), (10, 70))
    assert learned.patches.shape[:2] == learned.foreground.shape == (1, 2 * 16 * 16)
    assert learned.foreground[0, : 16 * 16].sum() == 36  # 48 pixels are six patches of eight


def test_an_empty_reference_is_refused_or_is_the_middle(matcher: Matcher):
    encoded = matcher.encode(scene(40, 40)[0], support_only=True)
    with pytest.raises(ValueError, match="empty support mask"):
        matcher.encode_support(encoded, torch.zeros(1, 1, SIDE, SIDE))
    as_published = build_matcher(MatcherOptions(size="tiny", centre_for_empty=True))
    learned = as_published.encode_support(encoded, torch.zeros(1, 1, SIDE, SIDE))
    assert learned.foreground[0].nonzero().flatten().tolist() == [8 * 16 + 8]


def test_no_proposal_is_an_empty_answer(matcher: Matcher, targets: MatcherFeatures, monkeypatch):
    monkeypatch.setattr(matcher, "setting", replace(matcher.setting, quality=1e6))
    with pytest.warns(UserWarning, match="no mask"):
        found = matcher.predict(targets[:1], support(matcher, (40, 40)))
    assert (found.logits < 0).all()
    assert found.presence.tolist() == [0]
    assert found.quality.tolist() == [0]
    assert found.objects[0].shape == (0, SIDE, SIDE)


def test_the_published_threshold_widens_masks_when_they_are_resized(targets: MatcherFeatures):
    def mask(threshold: float) -> Tensor:
        own = build_matcher(MatcherOptions(size="tiny", setting="fss", threshold=threshold))
        logits = own.predict(targets[:1], support(own, (40, 40))).logits
        large = torch.nn.functional.interpolate(logits[None], scale_factor=4, mode="bilinear")
        return large[0, 0] > 0

    ours, published = mask(0.5), mask(0.0)
    assert (published | ours).equal(published)
    assert published.sum() > ours.sum()


def test_half_precision_keeps_to_the_networks(matcher: Matcher):
    full = matcher.predict(matcher.encode(scene(60, 20)[0]), support(matcher, (40, 40)))
    with torch.autocast("cpu", torch.bfloat16):
        images = matcher.encode(scene(60, 20)[0])
        half = matcher.predict(images, support(matcher, (40, 40)))
    assert images.patches.dtype == half.logits.dtype == half.presence.dtype == torch.float32
    assert iou(half.logits > 0, full.logits > 0) > 0.9


def test_the_networks_stay_frozen(matcher: Matcher):
    assert not any(p.requires_grad for p in matcher.parameters())
    assert {name.partition(".")[0] for name in matcher.state_dict()} == set(matcher.frozen_parts)


@pytest.mark.parametrize("flags", [{"shrunk": True}, {"size": "tiny", "random_weights": True}])
def test_it_is_built_without_files(flags: dict, tmp_path, monkeypatch):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    options = MatcherOptions(**flags)
    assert options.files() == ()
    method = METHODS["matcher"].build(options)
    images = torch.randn(1, 3, method.image_size, method.image_size)
    mask = torch.ones(1, 1, method.image_size, method.image_size)
    encoded = method.encode(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # untrained networks may propose nothing
        found = method.predict(encoded, method.encode_support(encoded, mask))
    assert found.logits.shape == (1, method.image_size, method.image_size)


def test_options():
    options = MatcherOptions(size="s", sam_model="vit_b")
    assert options.files() == ("dinov2_s", "vit_b")
    assert MatcherOptions().files() == ("dinov2_l", "vit_h")
    assert MatcherOptions(size="tiny").files() == ()
    assert MatcherOptions.from_json(options.to_json(), "x") == options
    problems = MatcherOptions(sam_model="vit_x", threshold=1, prompt_seed=-1).problems()
    assert [problem.split()[0] for problem in problems] == [
        "--sam_model",
        "--threshold",
        "--prompt_seed",
    ]
