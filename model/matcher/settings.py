"""The three settings of Matcher: how it prompts, scores and selects for each kind of object.

Source: the released program's command lines for COCO-20i and LVIS-92i, FSS-1000, and PASCAL-Part
and PACO-Part.
"""

from dataclasses import dataclass, replace
from typing import Self

OVERLAPS = ("best", "last")
"""Which of several objects has a pixel: that of the highest score, or the one that came last."""


@dataclass(frozen=True)
class Setting:
    """How prompts are made, which proposals stay, and which of them are united."""

    sizes: tuple[int, int]
    """Places in a prompt, from and to."""
    draws: int
    """Random prompts of each size, where there are more than eight places."""
    alpha: float
    """Weight of the earth mover's score."""
    beta: float
    """Weight of purity x coverage^exponent."""
    exponent: float
    merge: int
    """Masks that are united at most."""
    merge_many: int
    """The same with several references."""
    centres: int = 0
    """Places are so many cluster centres; 0: all matched places."""
    box: bool = False
    """Whether each prompt has the box around all places too."""
    three_masks: bool = False
    """Take SAM's three proposals for a prompt instead of its single mask."""
    quality: float = 0.0
    """SAM's own estimate of a mask's IoU has to be above this; 0: off."""
    stability: float = 0.0
    """A mask's stability has to be at least this; 0: off."""
    grid: int = 0
    """Points along a side of the regular grid of prompts; 0: none."""
    grid_quality: float = 0.88
    grid_stability: float = 0.95
    overlap: float = 1.0
    """Of two proposals whose boxes overlap more, the one of lower quality goes; 1: none does."""
    coverage: float = 0.0
    """A mask has to show this share of the matched places (or the best one's); 0: off."""
    purity: float = 0.0
    """The same of matched places per patch of the mask."""
    score_filter: bool = False
    """Keep scores near the best and above 0.67; else those above 0.7 of the best."""
    threshold: float = 0.5
    """Resized masks count above it; the released demo has 0, which dilates them."""
    keep_empty: bool = False
    """Score empty proposals as the whole picture, as the released program does; else drop them."""
    centre_for_empty: bool = False
    """Let the middle patch stand for the object of an empty reference, as the released program
    does; else it is refused."""
    video_sizes: tuple[int, int] = (1, 6)
    """Centres in a prompt in a video, from and to."""
    video_overlap: str = "best"
    """Which object of a video has a pixel that several claim: `model.matcher.video.OVERLAPS`."""

    def reduced(self, grid: int, draws: int) -> Self:
        """The same with fewer prompts, for tiny networks."""
        grid, draws = min(self.grid, grid), min(self.draws, draws)
        return replace(self, grid=grid, draws=draws, video_sizes=(1, 2))


SETTINGS = {
    "objects": Setting(
        sizes=(1, 6),
        draws=64,
        three_masks=True,
        quality=0.85,
        stability=0.9,
        grid=64,
        overlap=0.65,
        alpha=1.0,
        beta=0.0,
        exponent=0.0,
        purity=0.02,
        score_filter=True,
        merge=9,
        merge_many=5,
    ),
    "fss": Setting(
        sizes=(4, 6),
        draws=0,
        centres=8,
        alpha=0.8,
        beta=0.2,
        exponent=1.0,
        merge=10,
        merge_many=5,
    ),
    "parts": Setting(
        sizes=(3, 6),
        draws=128,
        box=True,
        alpha=0.5,
        beta=0.5,
        exponent=0.0,
        coverage=0.3,
        merge=5,
        merge_many=5,
    ),
}
"""objects: several instances of a class (COCO, LVIS); fss: one object that fills much of the
picture (FSS-1000); parts: a part of an object (PASCAL-Part, PACO-Part)."""
