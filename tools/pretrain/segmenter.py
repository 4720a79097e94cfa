"""Pre-train the tiny SAM or the image part of the tiny SAM 2 on generated scenes, class-agnostic.

    python -m tools.pretrain.segmenter --sam_version 1 --output FILE

A prompt is one to eight clicks inside, up to eight outside, sometimes a box; it asks for one
object, for all of one class or for any few. The single mask, the best of the three proposals and
the decoder's own quality estimate are trained, as SAM's are.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from data.synthetic.style import SIDE
from model.dc_sam.config import build_segmenter
from model.losses import mask_loss
from model.sam.segmenter import Segmenter, SegmenterFeatures
from tools.pretrain.scenes import PromptBatches, Prompts, batches
from tools.pretrain.weights import save_weights


def overlap(logits: Tensor, masks: Tensor) -> Tensor:
    """IoU of thresholded logits with masks of the same shape over the last two dimensions."""
    found = logits > 0
    masks = masks > 0.5
    shared = (found & masks).sum((-2, -1))
    return shared / (found | masks).sum((-2, -1)).clamp_min(1)


def losses(segmenter: Segmenter, batch: Prompts) -> tuple[Tensor, Tensor]:
    """The loss of one batch and the mean IoU of its single masks."""
    count = batch.masks.shape[1]
    features = segmenter.encode(batch.images)
    features = SegmenterFeatures(
        *(
            (features.embedding.repeat_interleave(count, 0)),
            tuple(level.repeat_interleave(count, 0) for level in features.levels),
        )
    )
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
    return loss, reached[:, 0].mean()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sam_version", type=int, choices=(1, 2), default=1, help="SAM or SAM 2")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--start", type=Path, help="weights to go on from (default: random)")
    parser.add_argument("--steps", type=int, default=8000, help="optimiser steps")
    parser.add_argument("--batch_size", type=int, default=16, help="scenes a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate of AdamW")
    parser.add_argument("--seed", type=int, default=0, help="of weights and scenes")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    parser.add_argument("--bf16", action="store_true", help="autocast, on processors that have it")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    segmenter = build_segmenter(options.sam_version, "tiny", options.start)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=options.lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, options.steps, pct_start=0.05
    )
    data = PromptBatches(options.seed, options.steps, options.batch_size)
    start, progress = time.time(), tqdm(batches(data, options.workers), mininterval=5)
    recent = 0.0

    def save(steps: int) -> None:
        save_weights(segmenter.official, options.output, {"step": steps, "seed": options.seed})

    for step, batch in enumerate(progress):
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            loss, reached = losses(segmenter, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(segmenter.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent = reached.item() if step == 0 else 0.98 * recent + 0.02 * reached.item()
        progress.set_postfix(loss=f"{loss.item():.3f}", iou=f"{recent:.3f}", refresh=False)
        if step % 500 == 499:
            save(step + 1)
    save(options.steps)
    print(
        f"{options.output}: {options.steps} steps in {time.time() - start:.0f} s, IoU {recent:.3f}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
