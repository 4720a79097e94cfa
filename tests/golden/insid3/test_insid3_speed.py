"""A further picture of the same reference takes about half of the published procedure's time.

The encoder has the width of ViT-S, 3 of its 12 blocks and rule-made weights. With more blocks both
sides come nearer to what they encode: one picture here, two there.
"""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.insid3.network import Insid3
from model.insid3.segmentation import Thresholds
from tests.golden.insid3.plain_insid3 import plain_insid3

SIDE = 1024
LARGEST_SHARE = 0.55


def seconds(call: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Processor time of the faster of two calls, and what they give."""
    times = []
    for _ in range(2):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return min(times), result


def compared(case, side: int) -> tuple[float, float, Tensor, Tensor]:
    """Times of both and their masks, on the case's first scenes drawn larger."""
    facts = case.facts
    method = Insid3(case.encoder, side, facts["svd_components"], Thresholds())
    reference = facts["references"][0]

    def larger(picture: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(picture, (side, side), mode="nearest")

    shown = larger(case.scene("ref0", reference))
    target = larger(case.scene("target", facts["target"]))
    mask = larger(case.mask(reference["mask"])[None, None])[0]
    support = method.encode_support(method.encode(shown), mask[None])  # once, with the basis

    def ours() -> Tensor:
        return method.predict(method.encode(target), support).logits[0] > 0

    own_time, own = seconds(ours)
    plain_time, plain = seconds(
        lambda: plain_insid3(case.encoder, method.directions, shown, mask, target)
    )
    return own_time, plain_time, own, plain


def test_the_plain_procedure_gives_the_same_mask(insid3_case):
    _, _, own, plain = compared(insid3_case, insid3_case.side)
    assert torch.equal(own, plain)
    assert int(plain.sum()) == insid3_case.facts["results"]["1shot"]["pixels"]


@pytest.mark.slow
def test_a_further_picture_takes_little_more_than_half_of_the_time(insid3_case):
    own_time, plain_time, own, plain = compared(insid3_case, SIDE)
    print(f"{own_time:.2f} s against {plain_time:.2f} s: {own_time / plain_time:.2f}")
    assert torch.equal(own, plain)
    assert own.any()
    assert own_time <= LARGEST_SHARE * plain_time
