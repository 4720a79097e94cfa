"""PerSAM-F's training: how much of each of SAM's three proposals makes the reference's mask.

Two numbers learn; the proposals do not depend on them, so that the decoder runs once.
Source: PerSAM, section 3.3, and its release.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss
from tqdm import tqdm

from model.losses import dice
from model.persam.passes import Decoder
from model.persam.rules import Training

SHOW_AFTER = 2.0
"""Seconds after which a progress bar appears."""


VIDEO_TRAINING = Training(800, 4e-4)
"""For masks given on a video's first frame."""


@dataclass(frozen=True)
class Step:
    """One step, before its update."""

    dice: float
    focal: float
    rate: float
    learned: tuple[float, float]
    """w1 and w2."""
    gradient: tuple[float, float]


def proposal_weights(learned: Tensor) -> Tensor:
    """The weights of all three proposals, from the two that learn: 3."""
    return torch.cat([1 - learned.sum(0, keepdim=True), learned])


def training_steps(
    proposals: Tensor, mask: Tensor, training: Training, learned: Tensor
) -> Iterator[Step]:
    """Learn on one reference; the two numbers change in place.

    Args:
        proposals: logits of the three, 3 x H x W.
        mask: 0 or 1, H x W.
        learned: w1 and w2, float32, with gradients.
    """
    optimizer = torch.optim.AdamW(
        [learned], lr=training.rate, eps=1e-4, weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    for _ in range(training.steps):
        rate = schedule.get_last_lr()[0]
        before = tuple(learned.tolist())
        logits = torch.einsum("m,mhw->hw", proposal_weights(learned), proposals)
        dice_loss = dice(logits[None], mask[None], squared=False, smoothing=1.0)[0]
        focal_loss = sigmoid_focal_loss(logits, mask, alpha=0.25, gamma=2, reduction="mean")
        optimizer.zero_grad()
        (dice_loss + focal_loss).backward()
        optimizer.step()
        schedule.step()
        gradient = tuple(learned.grad.tolist())
        yield Step(dice_loss.item(), focal_loss.item(), rate, before, gradient)


def train_weights(proposals: Tensor, mask: Tensor, training: Training) -> Tensor:
    """The weights of three proposals that fit a reference's mask best: 3, float32.

    A terminal shows a progress bar where it takes more than `SHOW_AFTER` seconds. Nothing is drawn
    at random.

    Args:
        proposals, mask: as above.
    """
    # a caller may have forbidden gradients in two ways, or asked for a lower precision
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(proposals.device.type, enabled=False),
    ):
        learned = torch.full((2,), 1 / 3, device=proposals.device, requires_grad=True)
        steps = training_steps(proposals.float().clone(), mask.float().clone(), training, learned)
        for _ in tqdm(
            steps,
            "PerSAM-F learns two weights",
            training.steps,
            delay=SHOW_AFTER,
            leave=False,
            disable=None,  # unless somebody looks on
        ):
            pass
        return proposal_weights(learned.detach())


def fit_weights(
    decoder: Decoder, masks: Sequence[Tensor], training: Training, boxes: Tensor | None = None
) -> Tensor:
    """The weights of the proposals on B references, each by itself: B x 3.

    Args:
        decoder: has the references' points.
        masks: B of 0 and 1, each as large as its frame `within_square`.
        boxes: prompts in the references' own pixels, B x 4.
    """
    logits = decoder.decode(boxes).logits[:, 1:]
    weights = [
        train_weights(frame.within_square().restore(low), mask, training)
        for low, mask, frame in zip(logits, masks, decoder.frames, strict=True)
    ]
    return torch.stack(weights)
