"""Draw clips of moving textured shapes: scenes of `data.synthetic.drawing` set in motion.

Objects sway along curves, turn, grow and shrink, pass in front of each other, and some leave the
picture for a while. What a frame shows is a function of its number, so that a clip may be of any
length. Pixels are RGB, uint8; coordinates are x, y in pixels; time is counted in frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.synthetic.drawing import (
    PRETRAINING,
    Instance,
    Rendering,
    SceneStyle,
    background,
    place_scene,
    render,
)

NOISE = 0.02
"""Standard deviation of the camera's noise, which is new in every frame."""
_CAMERA_MARGIN = 0.15
"""How much larger the background is than the picture on each side, in units of the side."""


@dataclass(frozen=True)
class MotionStyle:
    """How lively clips are."""

    sway: tuple[float, float] = (0.1, 0.45)
    """How far an object gets from where it starts, along x and y, in units of the image's side."""
    sway_frames: tuple[float, float] = (14.0, 40.0)
    """Frames until it is back."""
    turn: float = 0.08
    """Fastest rotation, radians a frame."""
    swell: float = 0.25
    """Largest change of size, as the logarithm of the factor."""
    leaves: float = 0.25
    """Probability that an object leaves the picture once."""
    away_frames: tuple[float, float] = (4.0, 8.0)
    """Frames from leaving to being back."""


MOTION = MotionStyle()


@dataclass(frozen=True)
class Course:
    """How one object moves; at time 0 it is where it was placed."""

    reach: tuple[float, float]
    """Of the path along x and y, pixels."""
    rates: tuple[float, float]
    """Of the path along x and y, radians a frame."""
    turn: float
    """Radians a frame."""
    swell: float
    """Logarithm of the factor between middle and largest size."""
    swell_rate: float
    """Radians a frame."""
    exit: tuple[float, float] = (0.0, 0.0)
    """Where it goes when it leaves, pixels from its path; nowhere if it stays."""
    exit_time: float = 0.0
    """The middle of the time for which it is away."""
    exit_frames: float = 1.0
    """For so many frames it is away or on its way."""

    def at(self, instance: Instance, time: float) -> Instance:
        """The object as it is at a time."""
        centre = []
        passed = (time - self.exit_time) / self.exit_frames
        away = min(1.0, 1.6 * np.cos(np.pi * passed)) if abs(passed) < 0.5 else 0.0
        for axis in range(2):
            sway = self.reach[axis] * (1 - np.cos(self.rates[axis] * time)) / 2
            centre.append(instance.centre[axis] + sway + away * self.exit[axis])
        return replace(
            instance,
            centre=tuple(centre),
            angle=instance.angle + self.turn * time,
            radius=instance.radius * float(np.exp(self.swell * np.sin(self.swell_rate * time))),
        )


@dataclass(frozen=True)
class Clip:
    """A scene in motion; its frames are drawn when they are asked for."""

    instances: tuple[Instance, ...]
    """As they are in the first frame."""
    courses: tuple[Course, ...]
    ground: np.ndarray
    """The background with a margin on each side, float32 in [0, 1]."""
    camera: Course
    """Moves the background."""
    side: int
    seed: int
    """Of the noise."""

    def frame(self, number: int) -> Rendering:
        """Draw a frame; its labels are those of `Rendering`, with positions in `instances`."""
        moved = [c.at(i, number) for c, i in zip(self.courses, self.instances, strict=True)]
        margin = (len(self.ground) - self.side) / 2
        camera = self.camera.at(replace(self.instances[0], centre=(margin, margin)), number)
        left, top = (round(float(np.clip(c, 0, 2 * margin))) for c in camera.centre)
        random = np.random.default_rng((self.seed, number))
        noise = random.normal(0, NOISE, (self.side, self.side, 3)).astype(np.float32)
        return render(self.ground[top : top + self.side, left : left + self.side], moved, noise)

    def frames(self, count: int) -> Iterator[Rendering]:
        return (self.frame(number) for number in range(count))


def random_clip(
    random: np.random.Generator,
    side: int,
    target: tuple[str, str],
    others: Sequence[tuple[str, str]],
    frames: int,
    style: SceneStyle = PRETRAINING,
    motion: MotionStyle = MOTION,
) -> Clip:
    """A clip with one or two objects of the target class among distractors, at least one.

    They are those of `place_scene`. All are in the first frame; those that leave do so after it.

    Args:
        frames: how many frames there will be: nothing leaves after them.
    """
    instances = place_scene(random, side, target, others, replace(style, counts=(0.7, 0.3)))
    margin = round(_CAMERA_MARGIN * side)
    large = side + 2 * margin
    ground = background(random, large - large % 8, style.ground_contrast)
    return Clip(
        tuple(instances),
        tuple(_random_course(random, side, one, frames, motion) for one in instances),
        ground,
        _camera(random, margin),
        side,
        int(random.integers(2**31)),
    )


def _random_course(
    random: np.random.Generator, side: int, instance: Instance, frames: int, motion: MotionStyle
) -> Course:
    inwards = np.where(np.array(instance.centre) > side / 2, -1, 1)
    course = Course(
        reach=tuple(side * random.uniform(*motion.sway, 2) * inwards),
        rates=tuple(2 * np.pi / random.uniform(*motion.sway_frames, 2)),
        turn=random.uniform(-motion.turn, motion.turn),
        swell=random.uniform(-motion.swell, motion.swell),
        swell_rate=2 * np.pi / random.uniform(*motion.sway_frames),
    )
    if random.random() >= motion.leaves:
        return course
    duration = random.uniform(*motion.away_frames)
    axis = int(random.integers(2))
    sign = 1 if instance.centre[axis] > side / 2 else -1
    distance = side / 2 + motion.sway[1] * side + 2 * instance.radius
    out = [0.0, 0.0]
    out[axis] = sign * distance
    return replace(
        course,
        exit=tuple(out),
        exit_time=random.uniform(1 + duration / 2, max(frames, duration)),
        exit_frames=duration,
    )


def _camera(random: np.random.Generator, margin: float) -> Course:
    return Course(
        reach=tuple(random.uniform(0, 0.7 * margin, 2)),
        rates=tuple(2 * np.pi / random.uniform(20, 60, 2)),
        turn=0.0,
        swell=0.0,
        swell_rate=0.0,
    )
