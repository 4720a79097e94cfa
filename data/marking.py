"""Which marks an episode's supports have instead of masks, drawn from their masks.

Shapes: K shots, H and W the side of the square that a method takes.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from common.kinds import ANY, KINDS, REFERENCE_KINDS
from data.prompts import Draws, draw_mark


@dataclass(frozen=True)
class Marking:
    """How supports are marked, as a pure function of the seed, the epoch and the episode."""

    prompt: str
    """One of `PROMPTS`."""
    boxes: str = "around"
    """See `data.prompts.BOXES`."""
    training: bool = False
    """Draw any number of points and strokes; False: as many as there may be."""
    seed: int = 0
    epoch: int = 0

    @classmethod
    def of_references(cls, kind: str, boxes: str, seed: int) -> Self | None:
        """How an evaluation marks references; None: by their masks.

        Args:
            kind: one of `REFERENCE_KINDS`.
        """
        prompt = REFERENCE_KINDS[kind]
        return None if prompt == "mask" else cls(prompt, boxes, seed=seed)

    def mark(self, masks: Tensor, index: int) -> tuple[Tensor, tuple[str, ...]]:
        """Mark the supports of one episode.

        Args:
            masks: K x H x W, exactly 0 or 1.
            index: the episode's position in its epoch, or another number that is its own.

        Returns:
            The marks, K x H x W, and their kinds.
        """
        marks, kinds = [], []
        for shot, mask in enumerate(masks):
            draws = Draws.at(self.seed, self.epoch, index, shot)
            kind = draws.plan.choice(KINDS) if self.prompt == ANY else self.prompt
            marks.append(draw_mark(mask, kind, draws, training=self.training, boxes=self.boxes))
            kinds.append(kind)
        return torch.stack(marks), tuple(kinds)
