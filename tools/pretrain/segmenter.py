"""Pre-train the tiny SAM or the image part of the tiny SAM 2 on generated scenes, class-agnostic.

    python -m tools.pretrain.segmenter --sam_version 1 --output FILE

A prompt is one to eight clicks inside, up to eight outside, sometimes a box; it asks for one
object, for all of one class or for any few. The single mask, the best of the three proposals and
the decoder's own quality estimate are trained, as SAM's are.
"""

import argparse

from common.cli import answer_early, run_script
from tools.pretrain.flags import pretraining_parser


def parse_options() -> argparse.Namespace:
    parser = pretraining_parser(__doc__, steps=8000, lr=1e-3)
    parser.add_argument(
        "--sam_version",
        type=int,
        choices=(1, 2),
        default=1,
        help="SAM or SAM 2 (default: %(default)s)",
    )
    parser.add_argument(
        "--batch_size", type=int, default=16, help="scenes in a step (default: %(default)s)"
    )
    return parser.parse_args()


answer_early(__name__, parse_options)

import torch
from torch import Tensor
from torch.nn import functional as F

from data.synthetic.style import SIDE
from model.losses import mask_loss
from model.sam.segmenter import Segmenter
from model.sam.variants import build_segmenter
from tools.pretrain.loop import loader, train
from tools.pretrain.scenes import PromptBatches, Prompts


def overlap(logits: Tensor, masks: Tensor) -> Tensor:
    """IoU of thresholded logits with masks of the same shape over the last two dimensions."""
    found = logits > 0
    masks = masks > 0.5
    shared = (found & masks).sum((-2, -1))
    return shared / (found | masks).sum((-2, -1)).clamp_min(1)


def losses(segmenter: Segmenter, batch: Prompts) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one batch and the mean IoU of its single masks."""
    count = batch.masks.shape[1]
    features = segmenter.encode(batch.images)
    features = features[torch.arange(len(batch.images)).repeat_interleave(count)]
    scale = segmenter.image_size / SIDE
    points = (batch.points.flatten(0, 1) + 0.5) * scale - 0.5
    tokens = segmenter.point_tokens(points, batch.labels.flatten(0, 1))
    decoded = segmenter.decode_all(features, tokens)
    logits = F.interpolate(
        decoded.logits.float(), size=(SIDE, SIDE), mode="bilinear", align_corners=False
    )
    masks = batch.masks.flatten(0, 1)
    each = torch.stack([mask_loss(logits[:, i], masks) for i in range(logits.shape[1])], dim=1)
    reached = overlap(logits.detach(), masks.unsqueeze(1).expand_as(logits))
    quality = F.mse_loss(decoded.quality.float(), reached)
    loss = each[:, 0].mean() + 0.3 * each[:, 1:].amin(1).mean() + 0.1 * quality
    return loss, {"IoU": reached[:, 0].mean()}


def main() -> int:
    options = parse_options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    segmenter = build_segmenter(options.sam_version, "tiny", options.start)
    train(
        segmenter,
        segmenter.official,
        loader(PromptBatches(options.seed, options.steps, options.batch_size), options.workers),
        lambda batch, _: losses(segmenter, batch),
        options,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
