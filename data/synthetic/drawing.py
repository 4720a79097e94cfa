"""Draw scenes of textured shapes: the pictures on which the shipped tiny models are trained.

An object is a shape family filled with a texture family; the pair is its class. Colour, size,
rotation, aspect, light and occlusion vary from instance to instance and say little of the class.
Pixels are RGB, uint8. Coordinates are x, y in pixels; angles are in radians.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data.synthetic.shapes import SHAPES, TEXTURES, hue_of

cv2.setNumThreads(0)  # the pictures are small, and worker processes share the cores

OVERSAMPLING = 4
SMALLEST_VISIBLE_FRACTION = 0.5


@dataclass(frozen=True)
class SceneStyle:
    """How hard scenes are; the defaults are those of pre-training, harder than any benchmark's."""

    radii: tuple[float, float] = (0.1, 0.22)
    """Smallest and largest radius of an object, in units of the image's side."""
    most_distractors: int = 3
    """Classes beside the target's, or the same one again."""
    counts: tuple[float, ...] = (0.5, 0.3, 0.2)
    """The probabilities of one object of the target class, of two, and so on."""
    distractor_counts: tuple[float, ...] = (1.0,)
    """The same for each distractor."""
    ground_contrast: float = 1.0
    """Multiplies the differences within the background."""


PRETRAINING = SceneStyle()


@dataclass(frozen=True)
class Instance:
    """One object of a scene with everything that decides how it looks."""

    shape: str
    texture: str
    centre: tuple[float, float]
    """x, y in pixels."""
    radius: float
    """Pixels; the contours of `SHAPES` are multiplied by it."""
    angle: float
    aspect: float
    """Width over height, before the rotation."""
    period: float
    """Of the texture, in units of the radius."""
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]
    """RGB in [0, 1]: the ground and the figure of the texture."""
    light: tuple[float, float]
    """Slope of the brightness across the object, along x and y."""
    seed: int


@dataclass(frozen=True)
class Rendering:
    """A drawn scene."""

    image: np.ndarray
    """H x W x 3, uint8 RGB."""
    instances: np.ndarray
    """H x W, int32: 0 for the background, else 1 + the position in the list that was drawn."""
    mixed: np.ndarray
    """H x W, bool: pixels on an outline, which show two things at once (255 in VOC)."""


def random_instance(
    random: np.random.Generator,
    side: int,
    shape: str,
    texture: str,
    hue: float | None = None,
    style: SceneStyle = PRETRAINING,
) -> Instance:
    """An object at a random place of an image of `side` pixels, coloured near `hue`."""
    centre_hue = hue_of(shape, texture) if hue is None else hue
    hue = (centre_hue + random.uniform(-0.1, 0.1)) % 1
    saturation, value = random.uniform(0.45, 1.0), random.uniform(0.6, 1.0)
    ground = colorsys.hsv_to_rgb(hue, saturation, value)
    if random.random() < 0.5:
        figure = colorsys.hsv_to_rgb(hue, saturation, value * random.uniform(0.25, 0.5))
    else:
        figure = colorsys.hsv_to_rgb(hue, saturation * random.uniform(0.0, 0.3), 1.0)
        ground = colorsys.hsv_to_rgb(hue, max(saturation, 0.6), value * 0.8)
    radius = side * random.uniform(*style.radii)
    margin = 0.6 * radius
    return Instance(
        shape=shape,
        texture=texture,
        centre=(random.uniform(margin, side - margin), random.uniform(margin, side - margin)),
        radius=radius,
        angle=random.uniform(0, 2 * np.pi),
        aspect=random.uniform(0.85, 1.18),
        period=random.uniform(0.4, 0.52),
        colours=(ground, figure),
        light=tuple(random.uniform(-0.3, 0.3, 2)),
        seed=int(random.integers(2**31)),
    )


def background(random: np.random.Generator, side: int, contrast: float = 1.0) -> np.ndarray:
    """A soft, faintly patterned ground; side x side x 3, float32 in [0, 1]."""
    coarse = random.random((4, 4, 3), dtype=np.float32) * 0.5 + random.uniform(0.1, 0.4)
    fine = random.random((side // 8, side // 8, 1), dtype=np.float32) - 0.5
    canvas = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    canvas += random.uniform(0.05, 0.3) * cv2.resize(fine, (side, side))[..., None]
    angle, period = random.uniform(0, np.pi), side * random.uniform(0.06, 0.25)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / period))
    canvas += random.uniform(0.0, 0.1) * wave[..., None]
    average = canvas.mean()
    return np.clip(average + contrast * (canvas - average), 0, 1)


def draw_instance(canvas: np.ndarray, instance: Instance) -> np.ndarray:
    """Paint one object over the canvas (H x W x 3 in [0, 1]) in place; return its coverage.

    The coverage is H x W in [0, 1], 1 where the object hides everything below it.
    """
    height, width = canvas.shape[:2]
    coverage = np.zeros((height, width), dtype=np.float32)
    reach = 1.5 * instance.radius
    left, top = (max(int(c - reach), 0) for c in instance.centre)
    right = min(int(instance.centre[0] + reach) + 1, width)
    bottom = min(int(instance.centre[1] + reach) + 1, height)
    if left >= right or top >= bottom:
        return coverage

    cosine, sine = np.cos(instance.angle), np.sin(instance.angle)
    stretch = np.sqrt(instance.aspect)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    contours = []
    for contour in SHAPES[instance.shape]:
        placed = (contour * (stretch, 1 / stretch)) @ rotation.T * instance.radius
        placed = (placed + instance.centre - (left, top)) * OVERSAMPLING
        contours.append(np.round(placed).astype(np.int32))
    large = np.zeros(((bottom - top) * OVERSAMPLING, (right - left) * OVERSAMPLING), np.uint8)
    cv2.fillPoly(large, contours, 255)
    alpha = cv2.resize(large, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    alpha = alpha.astype(np.float32) / 255

    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    x, y = (x - instance.centre[0]) / instance.radius, (y - instance.centre[1]) / instance.radius
    u = (cosine * x + sine * y) / (instance.period * stretch)
    v = (-sine * x + cosine * y) / instance.period * stretch
    figure = TEXTURES[instance.texture](u, v, instance.seed).astype(np.float32)[..., None]
    ground_colour, figure_colour = (np.array(c, dtype=np.float32) for c in instance.colours)
    paint = ground_colour * (1 - figure) + figure_colour * figure
    paint = paint * (1 + instance.light[0] * x + instance.light[1] * y)[..., None]

    window = canvas[top:bottom, left:right]
    window += (np.clip(paint, 0, 1) - window) * alpha[..., None]
    coverage[top:bottom, left:right] = alpha
    return coverage


def render(
    canvas: np.ndarray, instances: Sequence[Instance], noise: np.ndarray | None = None
) -> Rendering:
    """Paint the objects over a background in their order, later ones in front.

    Args:
        canvas: H x W x 3 in [0, 1]; left as it was.
        noise: H x W x 3, added to the finished picture.
    """
    canvas = canvas.copy()
    labels = np.zeros(canvas.shape[:2], dtype=np.int32)
    mixed = np.zeros(canvas.shape[:2], dtype=bool)
    for position, instance in enumerate(instances):
        coverage = draw_instance(canvas, instance)
        labels[coverage > 0.5] = position + 1
        mixed = np.where(coverage > 0.02, coverage < 0.98, mixed)
    if noise is not None:
        canvas += noise
    return Rendering((np.clip(canvas, 0, 1) * 255).round().astype(np.uint8), labels, mixed)


def place(
    random: np.random.Generator,
    side: int,
    wanted: Sequence[tuple[str, str, float | None]],
    style: SceneStyle = PRETRAINING,
) -> list[Instance]:
    """Place objects (shape, texture, hue) so that of each at least half stays visible.

    An object for which no such place is found in ten tries is left out; the first never is.
    """
    placed: list[Instance] = []
    areas: list[int] = []
    labels = np.zeros((side, side), dtype=np.int32)
    scratch = np.zeros((side, side, 3), dtype=np.float32)
    for shape, texture, hue in wanted:
        for _ in range(10):
            candidate = random_instance(random, side, shape, texture, hue, style)
            solid = draw_instance(scratch, candidate) > 0.5
            left = np.bincount(labels[~solid], minlength=len(placed) + 1)[1:]
            if all(
                seen >= SMALLEST_VISIBLE_FRACTION * area
                for seen, area in zip(left, areas, strict=True)
            ):
                placed.append(candidate)
                areas.append(int(solid.sum()))
                labels[solid] = len(placed)
                break
    return placed


def place_scene(
    random: np.random.Generator,
    side: int,
    target: tuple[str, str],
    others: Sequence[tuple[str, str]],
    style: SceneStyle = PRETRAINING,
) -> list[Instance]:
    """Objects of the target class among distractors, at least one, placed in a random order.

    The first distractor wears the target's hue, so that colour does not give the target away.

    Args:
        others: the (shape, texture) pairs from which distractors are drawn; without the target.
    """
    hue = hue_of(*target)
    wanted = [(*target, hue)] * _how_many(random, style.counts)
    for number in range(int(random.integers(1, style.most_distractors + 1))):
        pair = others[int(random.integers(len(others)))]
        several = _how_many(random, style.distractor_counts)
        wanted += [(*pair, hue if number == 0 else None)] * several
    order = random.permutation(len(wanted))
    instances = place(random, side, [wanted[i] for i in order], style)
    if not any((i.shape, i.texture) == target for i in instances):
        instances = place(random, side, wanted[:1], style)
    return instances


def _how_many(random: np.random.Generator, counts: Sequence[float]) -> int:
    if len(counts) == 1:  # nothing is drawn, so that what follows is the same as without repeats
        return 1
    return int(random.choice(np.arange(1, len(counts) + 1), p=counts))


def random_scene(
    random: np.random.Generator,
    side: int,
    target: tuple[str, str],
    others: Sequence[tuple[str, str]],
    style: SceneStyle = PRETRAINING,
) -> tuple[list[Instance], Rendering]:
    """A picture with objects of the target class among distractors, at least one.

    The arguments are those of `place_scene`.
    """
    instances = place_scene(random, side, target, others, style)
    noise = random.normal(0, 0.02, (side, side, 3)).astype(np.float32)
    return instances, render(background(random, side, style.ground_contrast), instances, noise)
