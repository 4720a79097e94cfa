"""Measure the tiny foundation models on scenes of the benchmark's classes, which they never saw.

python -m tools.pretrain.report
"""

import argparse

from common.cli import answer_early, run_script


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--scenes", type=int, default=300, help="scenes for each model (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the scenes (default: %(default)s)"
    )
    return parser.parse_args()


answer_early(__name__, parse_options)

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from common.pixels import normalize
from data.synthetic.drawing import random_scene
from data.synthetic.style import BENCHMARK_PAIRS, SIDE
from model.sam.segmenter import POINT_NEGATIVE, POINT_POSITIVE, Segmenter
from model.sam.variants import TINY_WEIGHTS, build_segmenter

PROMPTS = {"1 click": (1, 0), "3 + 3 clicks": (3, 3), "8 + 8 clicks": (8, 8)}
"""Clicks inside and outside of the object."""


def scene(index: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of benchmark classes and the mask of one of its objects."""
    random = np.random.default_rng((seed, index))
    target = BENCHMARK_PAIRS[random.integers(len(BENCHMARK_PAIRS))]
    _, rendering = random_scene(random, SIDE, target, [p for p in BENCHMARK_PAIRS if p != target])
    labels = np.unique(rendering.instances)
    chosen = random.choice(labels[labels > 0])
    return rendering.image, rendering.instances == chosen


@torch.no_grad()
def click_scores(segmenter: Segmenter, scenes: int, seed: int) -> dict[str, float]:
    """Mean IoU of one object for each kind of prompt, in percent."""
    totals = dict.fromkeys(PROMPTS, 0.0)
    scale = segmenter.image_size / SIDE
    for index in tqdm(range(scenes), segmenter.name):
        image, mask = scene(index, seed)
        random = np.random.default_rng((seed, index, 1))
        features = segmenter.encode(normalize(image)[None])
        for name, (inside, outside) in PROMPTS.items():
            places = np.concatenate(
                [
                    random.choice(np.flatnonzero(mask), inside),
                    random.choice(np.flatnonzero(~mask), outside),
                ]
            )
            points = torch.tensor([(p % SIDE + 0.5, p // SIDE + 0.5) for p in places]) * scale
            labels = torch.tensor([POINT_POSITIVE] * inside + [POINT_NEGATIVE] * outside)
            tokens = segmenter.point_tokens(points[None].float() - 0.5, labels[None])
            logits, _ = segmenter.select(segmenter.decode_all(features, tokens), fallback=False)
            full = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)
            found = (full[0, 0] > 0).numpy()
            totals[name] += 100 * (found & mask).sum() / (found | mask).sum()
    return {name: total / scenes for name, total in totals.items()}


def main() -> int:
    options = parse_options()
    for version, weights in TINY_WEIGHTS.items():
        segmenter = build_segmenter(version, "tiny", weights).eval()
        scores = click_scores(segmenter, options.scenes, options.seed)
        parameters = sum(p.numel() for p in segmenter.parameters())
        shown = ", ".join(f"{name} {score:.1f}" for name, score in scores.items())
        print(f"SAM {version} tiny, {parameters:,} parameters: IoU {shown}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
