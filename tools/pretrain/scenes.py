"""Endless batches of generated scenes for pre-training.

Only pairs of shape and texture which are no benchmark class appear here, so that one set of
weights serves every fold. A batch is a pure function of (seed, its number).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.pixels import normalize
from data.synthetic.drawing import Instance, Rendering, random_scene
from data.synthetic.shapes import SHAPES, TEXTURES
from data.synthetic.style import PRETRAINING_PAIRS, SIDE
from model.sam.segmenter import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    POINT_NEGATIVE,
    POINT_POSITIVE,
)

MOST_OBJECTS = 6
"""Objects in a scene: up to three targets and three distractors."""
PROMPTS_PER_SCENE = 2


class Objects(NamedTuple):
    """A batch for the backbone. B scenes."""

    images: Tensor
    """B x 3 x SIDE x SIDE, normalised."""
    labels: Tensor
    """B x SIDE x SIDE: 0 background, 1 to MOST_OBJECTS an object, -1 an outline pixel."""
    shapes: Tensor
    """B x MOST_OBJECTS, index of the shape family; -1 where there are fewer objects."""
    textures: Tensor
    """The same for the texture family."""
    targets: Tensor
    """B x MOST_OBJECTS, bool: objects of the class which a scene shares with its partner.

    Scenes 2i and 2i + 1 are partners.
    """


class Prompts(NamedTuple):
    """A batch for a promptable model. B scenes, P prompts for each."""

    images: Tensor
    """B x 3 x SIDE x SIDE, normalised."""
    masks: Tensor
    """B x P x SIDE x SIDE, 0 or 1: what each prompt asks for."""
    points: Tensor
    """B x P x N x 2: x, y in pixels."""
    labels: Tensor
    """B x P x N: labels of `model.sam.segmenter`."""


def draw(
    random: np.random.Generator, target: tuple[str, str] | None = None
) -> tuple[list[Instance], Rendering]:
    """One scene of pre-training classes, with objects of the target class or of a random one."""
    target = target or PRETRAINING_PAIRS[random.integers(len(PRETRAINING_PAIRS))]
    return random_scene(random, SIDE, target, [p for p in PRETRAINING_PAIRS if p != target])


class ObjectBatches(Dataset):
    """Batches of `Objects`; the batch size is even."""

    def __init__(self, seed: int, batches: int, batch_size: int) -> None:
        self.seed, self.batches, self.batch_size = seed, batches, batch_size

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, number: int) -> Objects:
        random = np.random.default_rng((self.seed, number))
        images, labels, shapes, textures, targets = [], [], [], [], []
        for position in range(self.batch_size):
            if position % 2 == 0:
                target = PRETRAINING_PAIRS[random.integers(len(PRETRAINING_PAIRS))]
            instances, rendering = draw(random, target)
            missing = [-1] * (MOST_OBJECTS - len(instances))
            ours = [(i.shape, i.texture) == target for i in instances]
            targets.append(ours + [False] * len(missing))
            images.append(normalize(rendering.image))
            labels.append(np.where(rendering.mixed, -1, rendering.instances))
            shapes.append([list(SHAPES).index(i.shape) for i in instances] + missing)
            textures.append([list(TEXTURES).index(i.texture) for i in instances] + missing)
        return Objects(
            torch.stack(images),
            torch.from_numpy(np.stack(labels)).long(),
            torch.tensor(shapes),
            torch.tensor(textures),
            torch.tensor(targets),
        )


class PromptBatches(Dataset):
    """Batches of `Prompts`; all prompts of one batch have the same number of clicks."""

    def __init__(self, seed: int, batches: int, batch_size: int) -> None:
        self.seed, self.batches, self.batch_size = seed, batches, batch_size

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, number: int) -> Prompts:
        random = np.random.default_rng((self.seed, number))
        positive, negative = int(random.integers(1, 9)), int(random.integers(0, 9))
        boxed = random.random() < 0.15
        images, masks, points, labels = [], [], [], []
        for _ in range(self.batch_size):
            instances, rendering = draw(random)
            images.append(normalize(rendering.image))
            for _ in range(PROMPTS_PER_SCENE):
                chosen = choose(random, instances, rendering, 1 if boxed else positive)
                mask = np.isin(rendering.instances, chosen)
                places = clicks(random, rendering, chosen, positive, negative)
                marks = [POINT_POSITIVE] * positive + [POINT_NEGATIVE] * negative
                if boxed:
                    places += _box(random, mask)
                    marks += [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
                masks.append(mask)
                points.append(places)
                labels.append(marks)
        shape = (self.batch_size, PROMPTS_PER_SCENE)
        return Prompts(
            torch.stack(images),
            torch.from_numpy(np.stack(masks)).float().unflatten(0, shape),
            torch.tensor(points, dtype=torch.float32).unflatten(0, shape),
            torch.tensor(labels).unflatten(0, shape),
        )


def choose(
    random: np.random.Generator, instances: Sequence[Instance], rendering: Rendering, most: int
) -> np.ndarray:
    """Which objects (their labels) to ask for: all of one class, or any few of them."""
    visible = np.unique(rendering.instances)
    visible = visible[visible > 0]
    first = instances[random.choice(visible) - 1]
    same = [
        label
        for label in visible
        if instances[label - 1].shape == first.shape
        and instances[label - 1].texture == first.texture
    ]
    if len(same) <= most and random.random() < 0.7:
        return np.array(same)
    count = int(random.integers(1, min(most, len(visible), 3) + 1))
    return random.choice(visible, count, replace=False)


def clicks(
    random: np.random.Generator,
    rendering: Rendering,
    chosen: np.ndarray,
    positive: int,
    negative: int,
) -> list[tuple[float, float]]:
    """At least one click on every chosen object; half of the others on other objects."""
    labels = rendering.instances.ravel()
    wanted = np.flatnonzero(np.isin(labels, chosen))
    unwanted = np.flatnonzero(~np.isin(labels, chosen))
    objects = unwanted[labels[unwanted] > 0]
    places = [random.choice(np.flatnonzero(labels == label)) for label in chosen]
    places += list(random.choice(wanted, positive - len(places)))
    for _ in range(negative):
        on_object = len(objects) > 0 and random.random() < 0.5
        places.append(random.choice(objects if on_object else unwanted))
    return [(place % SIDE, place // SIDE) for place in places]


def _box(random: np.random.Generator, mask: np.ndarray) -> list[tuple[float, float]]:
    """A box around the mask, its corners off by up to three pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    corners = np.array([[columns[0], rows[0]], [columns[-1], rows[-1]]], dtype=np.float64)
    corners += random.uniform(-3, 3, (2, 2))
    return [tuple(corner) for corner in corners.clip(0, SIDE - 1)]
