"""Pre-train the tiny SAM 2 on generated clips: its memory, and its image part along with it.

    python -m tools.pretrain.memory --start images.safetensors --output tiny_sam2.safetensors

One object of a clip, or several as one, is given in the first frame by its mask or by clicks, and
is to be found in the frames that follow; also whether it is there at all. Every update also sees a
batch of `tools.pretrain.segmenter`, so that single pictures are not forgotten.
"""

import argparse

from common.cli import answer_early, run_script
from tools.pretrain.flags import pretraining_parser


def parse_options() -> argparse.Namespace:
    parser = pretraining_parser(__doc__, steps=1800, lr=8e-4)
    for flag, default, text in (
        ("--frames", 12, "frames of all clips in a step"),
        ("--scenes", 4, "single pictures in a step"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{text} (default: %(default)s)")
    options = parser.parse_args()
    if options.start is None:
        parser.error("--start is required: weights of tools.pretrain.segmenter")
    return options


answer_early(__name__, parse_options)

import torch
from torch import Tensor
from torch.nn import functional as F

from data.synthetic.style import SIDE
from model.losses import mask_loss
from model.sam.sam2 import ObjectMask, Sam2
from model.sam.variants import build_segmenter
from tools.pretrain import segmenter as pictures
from tools.pretrain.clips import ClipBatches, Clips
from tools.pretrain.loop import loader, train
from tools.pretrain.scenes import PromptBatches, Prompts

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
            found = segmenter.use_mask(features, F.interpolate(mask[:, None], size))
        else:
            if number == 0:
                scale = segmenter.image_size / SIDE
                points = (clips.points.flatten(0, 1) + 0.5) * scale - 0.5
                tokens = segmenter.point_tokens(points, clips.labels.flatten(0, 1))
                found = segmenter.decode_object(features, tokens, fallback=False)
            else:
                conditioned = segmenter.attend_memory(features, bank, number, length=None)
                tokens = segmenter.padding_tokens(len(mask))
                found = segmenter.decode_object(conditioned, tokens, fallback=False)
            loss, overlap = frame_loss(found, mask, present)
            total = total + loss
            if number:
                reached.append(overlap[present])
        # what is remembered of presence is the truth, so that wrong guesses do not add up
        known = torch.where(present, SURE, -SURE).unsqueeze(1)
        memory = segmenter.encode_memory(features, found._replace(object_logit=known), binary=False)
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
    options = parse_options()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    segmenter = build_segmenter(2, "tiny", options.start).eval()  # without dropout
    clips = loader(ClipBatches(options.seed, options.steps, options.frames), options.workers)
    scenes = loader(PromptBatches(options.seed, options.steps, options.scenes), options.workers)

    def both(batch: tuple[Clips, Prompts], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        moving, still = batch
        loss, propagated = losses(segmenter, moving, given=step % 2 == 0)
        picture_loss, seen = pictures.losses(segmenter, still)
        return loss + 0.5 * picture_loss, {"IoU on clips": propagated, "on pictures": seen["IoU"]}

    train(segmenter, segmenter.official, zip(clips, scenes, strict=True), both, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
