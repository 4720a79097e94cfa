"""Matcher against its released program's flow, in one run: half of its time."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.matcher.builder import build_matcher
from model.matcher.config import MatcherOptions
from model.matcher.network import Matcher
from model.sam.sam1 import Sam, SamSize
from tests.model.matcher.published_flow import segment
from tests.model.matcher.scenes import SIDE, scene

REFERENCE, MASK = scene(40, 40)


def learned(matcher: Matcher):
    return matcher.encode_support(matcher.encode(REFERENCE, support_only=True), MASK)


@pytest.fixture
def wide() -> Matcher:
    """A few layers of SAM's own width on a quarter of its places; a few of the masks are kept."""
    matcher = build_matcher(MatcherOptions(size="tiny"))
    small = SamSize(
        width=64, depth=2, heads=2, global_blocks=(1,), image_size=256, patch=8, window=8
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sam = Sam("small", small).eval().requires_grad_(False)
        for value in sam.mask_decoder.parameters():
            if value.dim() > 1:
                value.normal_(0, value[0].numel() ** -0.5)
        sam.mask_decoder.iou_prediction_head.layers[-1].bias.fill_(0.5)
    matcher.segmenter = sam
    matcher.setting = replace(
        matcher.setting, grid=6, draws=4, stability=0.0, grid_stability=0.0, purity=0.0
    )
    return matcher


def seconds(work: Callable[[], object]) -> float:
    """Of this process alone, the better of two: other processes do not count."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def test_half_the_time_for_a_further_picture_of_a_reference(wide: Matcher):
    support, target = learned(wide), scene(60, 20)[0]
    found: list[Tensor] = []
    ours = seconds(lambda: found.append(wide.predict(wide.encode(target), support).logits[0] > 0))
    published = seconds(lambda: found.append(segment(wide, REFERENCE, MASK[0, 0], target)))
    assert found[0].any()
    assert found[0].shape == found[-1].shape == (SIDE, SIDE)
    print(f"Matcher: {ours:.2f} s; the published flow: {published:.2f} s")
    assert ours <= 0.5 * published
