"""References other than masks, drawn from a mask: points, scribbles and boxes.

Sources: VRP-SAM's references (arXiv 2402.17726) and SANSA's prompts (arXiv 2505.21795), which are
the same but for the box and for two draws of a stroke.
A mark is a map of the mask's shape, exactly 0 or 1. Coordinates are (x, y) in pixels, x to the
right and y down; a box is (left, top, right, bottom), where right and bottom lie outside.
"""

import math
import random
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from common.kinds import KINDS

BOXES = ("around", "largest")
"""A box around the whole mask (VRP-SAM), or around the largest of its parts (SANSA)."""
MOST = 20
"""Of points, or of strokes, in one reference."""

_PROMPT = 4
"""Ends the seeds of marks, so that their numbers are not those with which episodes are drawn."""
_EVALUATION_PLAN = 321
"""Seeds anew, for each reference of an evaluation, the number of strokes."""

Box = tuple[int, int, int, int]


class Brush(NamedTuple):
    """How strokes look; ranges are [low, high) for whole numbers, as numpy draws them."""

    vertices: tuple[int, int]
    """Steps of a stroke."""
    width: tuple[float, float]
    """Of the line, in pixels."""
    speed: float
    """Longest step, in pixels."""
    speed_change: float
    turn: float
    """Largest change of direction in a step, in radians."""
    drift: float
    """Deviation of how far a stroke is moved as a whole, in pixels."""
    jitter: tuple[float, float]
    """By how much half of the vertices are moved, in pixels."""


CURVE = Brush((10, 30), (3, 10), 20.0, 15.0, 0.5, 3.0, (-3, 3))
SMALL_CURVE = Brush((6, 22), (2.5, 5), 12.0, 8.0, 0.5, 1.5, (-1.5, 1.5))


@dataclass
class Draws:
    """The generators that marks are drawn from; every draw moves them on."""

    plan: random.Random
    """Numbers of points and strokes, and their brush, in training."""
    order: torch.Generator
    """Which pixels of the mask are taken."""
    strokes: np.random.RandomState
    """How strokes run."""

    @classmethod
    def of_seed(cls, seed: int) -> Self:
        """As the published code draws after its generators were all given one seed."""
        order = torch.Generator().manual_seed(seed)
        return cls(random.Random(seed), order, np.random.RandomState(seed))

    @classmethod
    def at(cls, seed: int, epoch: int, index: int, shot: int = 0) -> Self:
        """Of one reference: a pure function of the arguments."""
        sequence = np.random.SeedSequence((seed, epoch, index, shot, _PROMPT))
        plan, order, strokes = sequence.generate_state(3).tolist()
        return cls(
            random.Random(plan),
            torch.Generator().manual_seed(order),
            np.random.RandomState(strokes),
        )


def draw_mark(
    mask: Tensor,
    kind: str,
    draws: Draws,
    *,
    training: bool = False,
    boxes: str = "around",
    idle_draws: bool = True,
) -> Tensor:
    """A reference of another kind for the object that a mask shows.

    In evaluation 20 points, or the same number of strokes for every mask of 20 pixels and more,
    in wide curves; in training any number from 1 to 20, and wide or small curves by coin.

    Args:
        mask: H x W, exactly 0 or 1.
        kind: one of `KINDS`; a mask stays as it is.
        boxes: one of `BOXES`.
        idle_draws: see `stroke_mark`.

    Returns:
        H x W, float32: 1 at the points, along the strokes and only inside the mask, or in the
        whole box. Empty where the mask is empty, and only there.

    Raises:
        ValueError: the kind or the rule for boxes is unknown.
    """
    if kind not in KINDS or boxes not in BOXES:
        raise ValueError(f"no such reference: {kind} with boxes {boxes}")
    pixels = int(mask.sum())
    if kind == "mask" or not pixels:
        return mask.float()
    if kind == "box":
        corners = box_around(mask) if boxes == "around" else largest_box(mask)
        return fill_box(corners, mask.shape)
    most = min(MOST, pixels)
    if kind == "point":
        count = draws.plan.randint(1, most) if training else most
        return point_mark(mask, count, draws.order)
    plan = draws.plan if training else random.Random(_EVALUATION_PLAN)
    count = plan.randint(1, most)
    brush = plan.choice((CURVE, SMALL_CURVE)) if training else CURVE
    starts = stroke_starts(mask, count, draws.order)
    mark = stroke_mark(starts, brush, mask.shape, draws.strokes, idle_draws) * (mask > 0)
    if not mark.any():  # strokes wander, and may all miss a mask of few pixels
        columns, rows = starts.long().T
        mark[rows, columns] = 1
    return mark


def point_mark(mask: Tensor, count: int, order: torch.Generator) -> Tensor:
    """1 at `count` pixels of the mask, or at all where it has fewer; H x W, float32."""
    mark = torch.zeros(mask.numel())
    mark[_chosen(mask, count, order)] = 1
    return mark.view(mask.shape)


def stroke_starts(mask: Tensor, count: int, order: torch.Generator) -> Tensor:
    """Where strokes begin: at pixels of the mask; N x 2 of (x, y).

    y has the part of its row that lies before the pixel behind the point, as published.
    """
    chosen = _chosen(mask, count, order)
    width = mask.shape[1]
    return torch.stack([(chosen % width).float(), chosen / width], dim=1)


def stroke_mark(
    starts: Tensor,
    brush: Brush,
    shape: tuple[int, int],
    random: np.random.RandomState,
    idle_draws: bool = True,
) -> Tensor:
    """1 along random strokes, wherever they run; H x W, float32.

    Args:
        starts: N x 2 of (x, y).
        idle_draws: draw also the two numbers of each stroke that VRP-SAM draws without using
            them; SANSA does not draw them.
    """
    strokes = [_Stroke(start, brush, random) for start in starts.tolist()]
    picture = Image.new("L", (shape[1], shape[0]))
    canvas = ImageDraw.Draw(picture)
    for stroke in strokes:
        if idle_draws:
            random.normal(size=2)
        stroke.shake(brush, random)
        stroke.paint(canvas)
    return torch.from_numpy(np.array(picture, dtype=np.float32))


class _Stroke:
    """A line of some width through vertices, V x 2."""

    def __init__(self, start: list[float], brush: Brush, random: np.random.RandomState) -> None:
        self.width = random.randint(*brush.width)
        steps = random.randint(*brush.vertices)
        direction = random.uniform(0, 2 * math.pi)
        speed = random.uniform(0, brush.speed)
        x, y = start
        vertices = [(x, y)]
        for _ in range(steps):
            speed += random.uniform(-brush.speed_change, brush.speed_change)
            direction += random.uniform(-brush.turn, brush.turn)
            speed = min(max(speed, 0.0), brush.speed)
            x += speed * math.sin(direction)
            y += speed * math.cos(direction)
            vertices.append((x, y))
        distance = abs(random.normal(0, brush.drift))
        towards = random.uniform(0, 2 * math.pi)
        drift = int(distance * math.cos(towards)), int(distance * math.sin(towards))
        self.vertices = np.array(vertices) + drift

    def shake(self, brush: Brush, random: np.random.RandomState) -> None:
        """Move half of the vertices a little."""
        order = np.arange(len(self.vertices))
        random.shuffle(order)
        for vertex in order[: len(order) // 2]:
            self.vertices[vertex] += random.randint(*brush.jitter), random.randint(*brush.jitter)

    def paint(self, canvas: ImageDraw.ImageDraw) -> None:
        """Draw the line, and discs at its vertices, where lines alone would leave gaps."""
        points = [tuple(vertex) for vertex in self.vertices.tolist()]
        canvas.line(points, fill=1, width=self.width)
        radius = self.width // 2 - 1
        for x, y in points:
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def box_around(mask: Tensor) -> Box:
    """The box around everything that a mask, H x W and not empty, shows."""
    rows, columns = mask.nonzero(as_tuple=True)
    return (
        int(columns.min()),
        int(rows.min()),
        int(columns.max()) + 1,
        int(rows.max()) + 1,
    )


def largest_box(mask: Tensor) -> Box:
    """The largest box around one part of a mask, H x W and not empty.

    Parts are connected through edges. In their order, the box of a part which overlaps that of an
    earlier one is joined with the first such; joined boxes are not compared again.
    """
    parts, _ = ndimage.label(mask.numpy() > 0)
    kept: list[Box] = []
    for rows, columns in ndimage.find_objects(parts):
        box = columns.start, rows.start, columns.stop, rows.stop
        hit = next((i for i, other in enumerate(kept) if _overlap(box, other)), None)
        if hit is None:
            kept.append(box)
        else:
            kept[hit] = (
                *(min(pair) for pair in zip(kept[hit][:2], box[:2], strict=True)),
                *(max(pair) for pair in zip(kept[hit][2:], box[2:], strict=True)),
            )
    return max(kept, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))


def fill_box(box: Box, shape: tuple[int, int]) -> Tensor:
    """1 inside a box, else 0; H x W, float32."""
    left, top, right, bottom = box
    mark = torch.zeros(tuple(shape))
    mark[top:bottom, left:right] = 1
    return mark


def _chosen(mask: Tensor, count: int, order: torch.Generator) -> Tensor:
    """Positions of `count` pixels of a mask among all, row by row."""
    inside = mask.flatten().nonzero()[:, 0]
    return inside[torch.randperm(len(inside), generator=order)][:count]


def _overlap(box: Box, other: Box) -> bool:
    wide = min(box[2], other[2]) > max(box[0], other[0])
    high = min(box[3], other[3]) > max(box[1], other[1])
    return wide and high
