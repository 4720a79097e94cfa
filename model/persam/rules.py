"""Where PerSAM's release is mistaken or leaves a choice: its way, or another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """By default what was meant, and what the release does where that is a choice."""

    mask_value: int | None = None
    """Read reference masks as the release reads files of this value; None: half of a cell."""
    released_guidance: bool = False
    """Resize the guidance without the padding."""
    released_areas: bool = False
    """In videos take areas modulo 256 for what is largest."""
    released_hand_over: bool = False
    """In videos list boxes anew for the objects still visible, so that others inherit them."""
    video_points: int = 2
    """In videos, the best places that prompt a frame."""
    points_apart: bool = False
    """In videos, let these be at least one cell of the embedding apart."""
    video_box: bool = True
    """In videos, prompt by the box on the frame before."""
    video_center: bool = True
    """In videos, prompt by that box's centre."""
    video_largest: bool = True
    """In PerSAM's videos, refine the largest proposal; else the best one."""


@dataclass(frozen=True)
class Training:
    """How long and how fast."""

    steps: int = 1000
    rate: float = 1e-3
    """AdamW's, before cosine decay to zero."""
