"""Endless batches of generated clips for pre-training a memory; see `tools.pretrain.scenes`."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.pixels import normalize
from data.synthetic.clips import random_clip
from data.synthetic.style import PRETRAINING_PAIRS, SIDE
from model.sam.segmenter import POINT_NEGATIVE, POINT_POSITIVE
from tools.pretrain.scenes import PROMPTS_PER_SCENE, choose, clicks

LENGTHS = (2, 3, 4, 8)
"""Frames of the clips in a batch: at most one more than SAM 2 remembers of a video."""
MOST_APART = 3
"""Every so many frames of a clip are taken, at most."""


class Clips(NamedTuple):
    """A batch for a model with memory. B clips, P objects in each, T frames."""

    images: Tensor
    """B x T x 3 x SIDE x SIDE, normalised."""
    masks: Tensor
    """B x P x T x SIDE x SIDE, 0 or 1: one object, or several that count as one."""
    points: Tensor
    """Clicks in the first frame, B x P x N x 2: x, y in pixels."""
    labels: Tensor
    """B x P x N: labels of `model.sam.segmenter`."""


class ClipBatches(Dataset):
    """Batches of `Clips`, few long ones or many short ones: about `frames` frames in all."""

    def __init__(self, seed: int, batches: int, frames: int) -> None:
        self.seed, self.batches, self.frames = seed, batches, frames

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, number: int) -> Clips:
        random = np.random.default_rng((self.seed, 1, number))
        length = int(random.choice(LENGTHS))
        batch_size = max(1, self.frames // length)
        positive, negative = int(random.integers(1, 9)), int(random.integers(0, 9))
        images, masks, points, labels = [], [], [], []
        for _ in range(batch_size):
            target = PRETRAINING_PAIRS[random.integers(len(PRETRAINING_PAIRS))]
            others = [pair for pair in PRETRAINING_PAIRS if pair != target]
            apart = int(random.integers(1, MOST_APART + 1))
            clip = random_clip(random, SIDE, target, others, apart * length)
            drawn = [clip.frame(apart * number) for number in range(length)]
            images.append(torch.stack([normalize(frame.image) for frame in drawn]))
            for _ in range(PROMPTS_PER_SCENE):
                chosen = choose(random, clip.instances, drawn[0], positive)
                masks.append(np.stack([np.isin(frame.instances, chosen) for frame in drawn]))
                points.append(clicks(random, drawn[0], chosen, positive, negative))
                labels.append([POINT_POSITIVE] * positive + [POINT_NEGATIVE] * negative)
        shape = (batch_size, PROMPTS_PER_SCENE)
        return Clips(
            torch.stack(images),
            torch.from_numpy(np.stack(masks)).float().unflatten(0, shape),
            torch.tensor(points, dtype=torch.float32).unflatten(0, shape),
            torch.tensor(labels).unflatten(0, shape),
        )
