"""Matcher against its released program's flow with the tiny networks: the same masks."""

import pytest
import torch

from model.matcher.builder import build_matcher
from model.matcher.config import MatcherOptions
from model.matcher.network import Matcher
from tests.model.matcher.published_flow import segment
from tests.model.matcher.scenes import scene

REFERENCE, MASK = scene(40, 40)


def learned(matcher: Matcher):
    return matcher.encode_support(matcher.encode(REFERENCE, support_only=True), MASK)


@pytest.mark.parametrize("place", [(60, 20), (16, 64)])
def test_the_masks_are_those_of_the_published_flow(place: tuple[int, int]):
    matcher, target = build_matcher(MatcherOptions(size="tiny")), scene(*place)[0]
    expected = segment(matcher, REFERENCE, MASK[0, 0], target)
    assert expected.any()
    found = matcher.predict(matcher.encode(target), learned(matcher))
    assert torch.equal(found.logits[0] > 0, expected)
