"""Images: each step of an episode and of a training, against the straightforward flow."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from common.trainer import autocast
from model.dc_sam.network import DcSam
from model.losses import mask_loss
from tools.speed import straightforward
from tools.speed.measure import Machine, Measured, Work
from tools.speed.report import Row
from tools.speed.subjects import Subject

TARGETS = {
    "episode, cold": 0.5,
    "episode, stored features": 0.1,
    "query, fixed reference": 0.3,
    "training step, cold": 0.45,
    "training step, stored features": 0.15,
}
"""Part -> seconds at most, as a share of the straightforward flow's."""
ENCODER_LIMIT = 0.7
"""Of the rate of matrix products, which the encoder is to reach."""
_LOOKED_INTO = (
    *("encode an image", "backbone", "prompt and decode", "episode, stored features"),
    "training step, stored features",
)
_EPISODE, _STEP = "straightforward episode", "straightforward step"
_COMPARED_WITH = {
    "encode an image": "straightforward encoding",
    "episode, cold": _EPISODE,
    "episode, stored features": _EPISODE,
    "query, fixed reference": _EPISODE,
    "training step, cold": _STEP,
    "training step, stored features": _STEP,
}


def measure_images(
    subject: Subject, machine: Machine, rounds: int, precision: str, learning: bool
) -> list[Row]:
    """All parts of one subject, in turns.

    Args:
        learning: the steps of a training; False: what labels an image.
    """
    chosen = training(subject) if learning else inference(subject)
    works = {name: _under(work, machine.device, precision) for name, work in chosen.items()}
    measured = machine.in_turns(works, rounds, _LOOKED_INTO, subject.title)
    expected = None if learning else measured[_EPISODE].result
    rows = []
    for part, found in measured.items():
        if part in _COMPARED_WITH.values():
            continue
        base = measured.get(_COMPARED_WITH.get(part, ""))
        difference = None
        if part in ("episode, cold", "episode, stored features", "query, fixed reference"):
            difference = logit_difference(found.result, expected)
        rows.append(_row(subject, part, found, base, machine, difference))
    return rows


def inference(subject: Subject) -> dict[str, Work]:
    """What labels an image, ours and the straightforward flow."""
    model, query, supports = subject.model, subject.query, subject.supports
    given = (query, supports, subject.masks)
    features = _encoded(model, supports, query)
    with torch.no_grad():
        concept = model.encode_support(features[0], subject.masks)

    def cold() -> Tensor:
        return _segment(model, *_encoded(model, supports, query), subject.masks)

    works: dict[str, Work] = {
        "encode an image": lambda: model.segmenter.encode(query),
        "straightforward encoding": lambda: straightforward.encode(model, query),
        "backbone": lambda: model.backbone.high(model.backbone.extract(query).trunk, None),
        "prompt and decode": lambda: model.predict(features[1], concept).logits,
        "episode, cold": cold,
        _EPISODE: lambda: straightforward.segment(model, *given),
        "episode, stored features": lambda: _segment(model, *features, subject.masks),
        "query, fixed reference": lambda: model.predict(model.encode(query), concept).logits,
    }
    return {name: _without_gradients(work) for name, work in works.items()}


def training(subject: Subject) -> dict[str, Work]:
    """Forward and backward pass of a step; the weights stay as they are."""
    model, masks, truth = subject.model, subject.masks, subject.truth
    features = _encoded(model, subject.supports, subject.query)

    def step(losses: Tensor) -> None:
        losses.mean().backward()
        model.zero_grad(set_to_none=True)

    def ours(support: Any, query: Any) -> None:
        logits = _segment(model, support, query, masks)
        step(mask_loss(logits, truth, torch.zeros_like(truth, dtype=torch.bool), "paper"))

    def plain() -> None:
        given = (subject.query, subject.supports, masks, truth)
        step(straightforward.training_losses(model, *given))

    return {
        "training step, cold": lambda: ours(*_encoded(model, subject.supports, subject.query)),
        _STEP: plain,
        "training step, stored features": lambda: ours(*features),
    }


def logit_difference(found: Tensor, expected: Tensor) -> dict[str, float]:
    """How far two results are apart: the largest difference, and the share of changed pixels."""
    found, expected = found.float(), expected.float()
    return {
        "largest_logit_difference": float((found - expected).abs().max()),
        "logit_scale": float(expected.abs().mean()),
        "changed_pixels": float(((found > 0) != (expected > 0)).float().mean()),
    }


def _encoded(model: DcSam, supports: Tensor, query: Tensor) -> tuple[Any, Any]:
    return model.encode(supports.flatten(0, 1), support_only=True), model.encode(query)


def _segment(model: DcSam, support: Any, query: Any, masks: Tensor) -> Tensor:
    return model.predict(query, model.encode_support(support, masks)).logits


def _without_gradients(work: Work) -> Work:
    return torch.no_grad()(work)


def _under(work: Work, device: torch.device, precision: str) -> Work:
    def run() -> Any:
        with autocast(device, precision) if precision != "fp32" else nullcontext():
            return work()

    return run


def _row(
    subject: Subject,
    part: str,
    found: Measured,
    base: Measured | None,
    machine: Machine,
    difference: Mapping[str, float] | None,
) -> Row:
    return Row(
        subject=subject.title,
        part=part,
        seconds=found.cost.seconds,
        wall=found.cost.wall,
        plain_seconds=base and base.cost.seconds,
        target=TARGETS.get(part),
        gflop=found.operations / 1e9,
        share_of_limit=machine.share_of_limit(found),
        limit_target=ENCODER_LIMIT if part == "encode an image" else None,
        kinds=found.kinds,
        difference=dict(difference or {}),
    )
