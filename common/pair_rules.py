"""How training pairs are made: two views, of one picture or of two, and what is kept of each.

A method's folder states its `PairRules`; `data.mixture` draws pairs by them, and `data.pairs` makes
the views. Here are numbers only: what a view is drawn as, a `Placement`, `data.views` carries out.
Shapes: H and W a picture's own size, M the side of the square, h and w a view's part of it.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.images import Size

Box = tuple[int, int, int, int]
"""Top, left, height, width, in pixels."""
Keep = Literal["class", "classes", "objects"]


@dataclass(frozen=True)
class Placement:
    """How one picture comes to the square: flipped, cut, resized, cut again, and put upper left."""

    flip: bool
    """Left-right, before everything else."""
    source: Box
    """The part of the picture that is resized."""
    resized: Size
    """What it is resized to."""
    window: Box
    """The part of the resized picture that is kept; its height and width are h and w."""
    antialias: bool = False
    """Bilinear with a filter as wide as the reduction; False: of four pixels. Masks: nearest."""
    colours: tuple[tuple[str, float], ...] = ()
    """Changes in their order, each "brightness", "contrast", "saturation" or "hue" with its
    factor (of hue: a shift in turns)."""


class ViewRule(ABC):
    """Draws how pictures come to the square."""

    side: int
    """M."""

    @abstractmethod
    def draw(self, size: Size, random: np.random.Generator) -> Placement:
        """How a picture of this height and width is shown."""


@dataclass(frozen=True)
class ScaleJitter(ViewRule):
    """The whole picture at a random scale, then at most M x M of it from a random place.

    Sources: Copy-Paste's large-scale jitter, as SegIC's and SINE's releases take it.
    """

    side: int
    low: float = 0.1
    """The least scale; at 1 the picture's longer side is M."""
    high: float = 2.0
    flip: float = 0.5
    """Probability of flipping left-right."""
    antialias: bool = True
    squash: bool = False
    """Resize to squares instead of keeping the picture's proportions."""

    def draw(self, size: Size, random: np.random.Generator) -> Placement:
        flip = bool(random.random() < self.flip)
        reach = self.side * random.uniform(self.low, self.high)
        longest = max(size)
        shape = (longest, longest) if self.squash else size
        height, width = (max(1, round(length * reach / longest)) for length in shape)
        h, w = min(height, self.side), min(width, self.side)
        top, left = (int(random.integers(n + 1)) for n in (height - h, width - w))
        return Placement(flip, (0, 0, *size), (height, width), (top, left, h, w), self.antialias)


@dataclass(frozen=True)
class ColourJitter:
    """By how much brightness, contrast, saturation and hue may change, in a random order."""

    brightness: float = 0.4
    """The factor is uniform from 1 minus this to 1 plus this, and so are the next two."""
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    """The shift is uniform from minus this to this, in turns."""
    probability: float = 0.2

    def draw(self, random: np.random.Generator) -> tuple[tuple[str, float], ...]:
        """The changes of one picture; mostly none."""
        if random.random() >= self.probability:
            return ()
        changes = [
            (name, float(random.uniform(max(0.0, 1 - reach), 1 + reach)))
            for name, reach in vars(self).items()
            if name in ("brightness", "contrast", "saturation")
        ]
        changes.append(("hue", float(random.uniform(-self.hue, self.hue))))
        return tuple(changes[position] for position in random.permutation(len(changes)))


@dataclass(frozen=True)
class ResizedCrop(ViewRule):
    """A random part of the picture, resized to the whole square (proportions change a little).

    Source: Inception's crop, with the numbers that SegIC's release gives it.
    """

    side: int
    area: tuple[float, float] = (0.3, 1.0)
    """Least and largest part of the picture's area."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and largest width over height of that part; their logarithm is uniform."""
    flip: float = 0.1
    antialias: bool = False
    colours: ColourJitter = ColourJitter()

    def draw(self, size: Size, random: np.random.Generator) -> Placement:
        source = self._part(size, random)
        square = (self.side, self.side)
        return Placement(
            flip=bool(random.random() < self.flip),
            source=source,
            resized=square,
            window=(0, 0, *square),
            antialias=self.antialias,
            colours=self.colours.draw(random),
        )

    def _part(self, size: Size, random: np.random.Generator) -> Box:
        height, width = size
        for _ in range(10):
            area = height * width * random.uniform(*self.area)
            aspect = math.exp(random.uniform(*(math.log(end) for end in self.aspect)))
            h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
            if 0 < h <= height and 0 < w <= width:
                top, left = (int(random.integers(n + 1)) for n in (height - h, width - w))
                return top, left, h, w
        low, high = self.aspect  # a very long picture: as much of its middle as these allow
        w = min(width, max(1, round(height * high)))
        h = min(height, max(1, round(width / low)))
        return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True)
class PairRules:
    """How the two views of a pair are drawn, and which masks each keeps.

    Raises:
        ValueError: objects are to be found again, but in two different pictures.
    """

    view: ViewRule
    """How a picture is shown, each of the two by numbers of its own."""
    support_view: ViewRule | None = None
    """The same for supports, where another rule holds for them."""
    same_image: float = 0.5
    """Probability that both views are of one picture; else they are of two that show the drawn
    class. 0 leaves classes with a single picture out; otherwise these are always seen twice."""
    keep: Keep = "class"
    """What is kept. "class": one mask, all of the drawn class. "classes": of the support every
    object and every class, ordered by class, of the query those of the classes that are still seen
    in the support's view; none that is not seen. "objects": a random choice of those that are seen
    in both views (of one picture), in the same random order on both sides."""
    most_objects: int | None = None
    """With "objects": 0 to so many are kept, uniformly, but always one; None keeps all."""
    crowd: bool = False
    """Keep what is marked as a crowd, too."""
    allow_empty: bool = False
    """Take pairs of which a view shows nothing, instead of drawing anew. With "objects" the first
    of the file is kept where none is left."""

    def __post_init__(self) -> None:
        if self.keep == "objects" and self.same_image < 1:
            raise ValueError('keep="objects" needs both views of one picture: same_image=1')

    @property
    def side(self) -> int:
        """M."""
        return self.view.side

    @property
    def views(self) -> tuple[ViewRule, ViewRule]:
        """How supports and how queries are shown."""
        return self.support_view or self.view, self.view
