"""Pre-train the tiny SAM 2 on generated clips: its memory, and its image part along with it.

    python -m tools.pretrain.memory --start images.safetensors --output tiny_sam2.safetensors

One object of a clip, or several as one, is given in the first frame by its mask or by clicks, and
is to be found in the frames that follow; also whether it is there at all. Every update also sees a
batch of `tools.pretrain.segmenter`, so that single pictures are not forgotten.
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
from model.sam.sam2 import ObjectMask, Sam2
from tools.pretrain import segmenter as pictures
from tools.pretrain.clips import ClipBatches, Clips
from tools.pretrain.scenes import PromptBatches, batches
from tools.pretrain.weights import save_weights

SURE = 10.0
"""The object logit of what is known to be there."""


def losses(segmenter: Sam2, clips: Clips, given: bool) -> tuple[Tensor, Tensor]:
    """The loss of a batch of clips, and the mean IoU of frames after the first with their object.

    Args:
        given: the first frame's mask is given, else clicks are.
    """
    count, length = clips.masks.shape[1:3]
    truth = clips.masks.flatten(0, 1).unbind(1)
    encoded = segmenter.encode(clips.images.transpose(0, 1).flatten(0, 1))  # T B
    each = torch.arange(len(encoded.embedding)).repeat_interleave(count).view(length, -1)
    bank = segmenter.new_memory_bank()
    total, reached = torch.zeros(()), []
    for number in range(length):
        features, mask = encoded[each[number]], truth[number]
        present = mask.flatten(1).any(1)
        if number == 0 and given:
            size = (segmenter.image_size, segmenter.image_size)
            found = segmenter.take_mask(features, F.interpolate(mask[:, None], size))
        else:
            if number == 0:
                scale = segmenter.image_size / SIDE
                points = (clips.points.flatten(0, 1) + 0.5) * scale - 0.5
                tokens = segmenter.point_tokens(points, clips.labels.flatten(0, 1))
                found = segmenter.decode_object(features, tokens, fallback=False)
            else:
                recalled = segmenter.recall(features, bank, number, length=None)
                tokens = segmenter.padding_tokens(len(mask))
                found = segmenter.decode_object(recalled, tokens, fallback=False)
            loss, overlap = frame_loss(found, mask, present)
            total = total + loss
            if number:
                reached.append(overlap[present])
        # what is remembered of presence is the truth, so that wrong guesses do not add up
        known = torch.where(present, SURE, -SURE).unsqueeze(1)
        memory = segmenter.remember(features, found._replace(object_logit=known), binary=False)
        bank.add(number, memory, prompted=number == 0)
    return total / (length - given), torch.cat(reached).mean()


def frame_loss(found: ObjectMask, mask: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of one frame, and each object's IoU. `mask` is B x SIDE x SIDE, `present` B bool."""
    logits = F.interpolate(
        found.logits.float(), (SIDE, SIDE), mode="bilinear", align_corners=False
    ).squeeze(1)
    overlap = pictures.overlap(logits.detach(), mask)
    weight = present / present.sum().clamp_min(1)
    quality = (found.quality.float().squeeze(1) - overlap).square()
    score = F.binary_cross_entropy_with_logits(
        found.object_logit.float().squeeze(1), present.float()
    )
    return ((mask_loss(logits, mask) + 0.1 * quality) * weight).sum() + 0.2 * score, overlap


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--start", type=Path, required=True, help="weights to go on from")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=1800, help="optimiser steps")
    parser.add_argument("--frames", type=int, default=12, help="of all clips in a step")
    parser.add_argument("--scenes", type=int, default=4, help="single pictures a step")
    parser.add_argument("--lr", type=float, default=8e-4, help="peak learning rate of AdamW")
    parser.add_argument("--seed", type=int, default=0, help="of clips and scenes")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw clips")
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    parser.add_argument("--bf16", action="store_true", help="autocast, on processors that have it")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    segmenter = build_segmenter(2, "tiny", options.start).eval()  # without dropout
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=options.lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, options.steps, pct_start=0.05
    )
    clips = ClipBatches(options.seed, options.steps, options.frames)
    scenes = PromptBatches(options.seed, options.steps, options.scenes)
    both = zip(batches(clips, options.workers), batches(scenes, options.workers), strict=True)
    start, recent = time.time(), None

    def save(steps: int) -> None:
        save_weights(segmenter.official, options.output, {"step": steps, "seed": options.seed})

    progress = tqdm(both, total=options.steps, mininterval=5)
    for step, (moving, still) in enumerate(progress):
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            loss, followed = losses(segmenter, moving, given=step % 2 == 0)
            picture_loss, seen = pictures.losses(segmenter, still)
        optimizer.zero_grad()
        (loss + 0.5 * picture_loss).backward()
        nn.utils.clip_grad_norm_(segmenter.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        reached = torch.stack([followed, seen])
        recent = reached if recent is None else 0.98 * recent + 0.02 * reached
        progress.set_postfix(
            loss=f"{loss.item():.3f}", clips=f"{recent[0]:.3f}", pictures=f"{recent[1]:.3f}"
        )
        if step % 250 == 249:
            save(step + 1)
    save(options.steps)
    print(
        f"{options.output}: {options.steps} steps in {time.time() - start:.0f} s, "
        f"IoU {recent[0]:.3f} on clips, {recent[1]:.3f} on single pictures"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
