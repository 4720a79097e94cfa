"""What learns how fast: optimisers, the rate of every update, what weight decay leaves alone."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from common.training_options import MOMENTUM, POWER


def rate_factor(
    update: int, kind: str, warmup: int, updates: int, drop: int | None = None
) -> float:
    """The learning rate of an update, counted from 0, as a part of the peak.

    Args:
        kind: of `SCHEDULES`.
        warmup: updates in which the rate rises evenly; the last of them has the peak.
        updates: of the whole training, more than `warmup`.
        drop: in steps, the first update at a tenth of the rate.
    """
    peak = 10.0 if kind == "poly_tenfold" else 1.0
    if update < warmup:
        return peak * (update + 1) / warmup
    if kind == "step":
        return 1.0 if drop is None or update < drop else 0.1
    done = (update - warmup) / (updates - warmup)
    if kind.startswith("poly"):
        return peak * (1 - done) ** POWER
    return 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2


def rate_schedule(
    optimizer: Optimizer, kind: str, warmup: int, updates: int, drop: int | None = None
) -> LRScheduler:
    """What sets the rate of each update; its arguments are those of `rate_factor`."""
    if kind == "cosine" and not warmup:
        return CosineAnnealingLR(optimizer, updates)
    return LambdaLR(optimizer, lambda update: rate_factor(update, kind, warmup, updates, drop))


def build_optimizer(
    kind: str, groups: list[dict[str, Any]], rate: float, decay: float
) -> Optimizer:
    """What makes updates of gradients.

    Args:
        kind: of `OPTIMIZERS`.
        groups: from `parameter_groups`.
        rate, decay: the peak learning rate and the weight decay.
    """
    if kind == "sgd":
        return SGD(groups, lr=rate, momentum=MOMENTUM, weight_decay=decay)
    return AdamW(groups, lr=rate, weight_decay=decay)


def parameter_groups(
    model: nn.Module, rate: float, decay: float, parts: Mapping[str, float], undecayed: str
) -> list[dict[str, Any]]:
    """What of a model learns, as an optimiser takes it; the first group is the rest.

    Args:
        rate: the peak learning rate.
        decay: the weight decay of what is not left alone.
        parts: the rate of parameters whose names start so, as a part of `rate`.
        undecayed: of `UNDECAYED`.
    """
    alone = _without_decay(model, undecayed)
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {("", True): []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            prefix = next((part for part in parts if name.startswith(part)), "")
            groups.setdefault((prefix, parameter not in alone), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * parts.get(prefix, 1.0),
            "weight_decay": decay if decayed else 0.0,
        }
        for (prefix, decayed), parameters in groups.items()
    ]


def _without_decay(model: nn.Module, kind: str) -> set[nn.Parameter]:
    """Which parameters do not decay."""
    if kind == "nothing":
        return set()
    modules = (nn.Embedding, nn.LayerNorm) if kind == "layer_norms" else nn.Embedding
    found = {p for m in model.modules() if isinstance(m, modules) for p in m.parameters(False)}
    if kind == "vectors":
        found |= {parameter for parameter in model.parameters() if parameter.dim() <= 1}
    return found
