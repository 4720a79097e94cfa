"""Training DC-SAM for videos: what of SAM 2 learns, and the loss of mask tubes.

Source: DC-SAM section 4.5.
Shapes: B videos side by side, T frames, K shots, H and W frame height and width.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from model.dc_sam.config import PARTS
from model.dc_sam.features import EncodedImages
from model.dc_sam.network import DcSam
from model.losses import mask_loss
from model.method_options import LossOptions
from model.sam.video_predictor import FramePrediction

_HEADS = ("pred_obj_score_head.", "iou_prediction_head.")
_LEVELS = ("conv_s0.", "conv_s1.")


class LabelledTubes(Protocol):
    """Short videos with the masks of one object each."""

    frames: Tensor
    """Normalised, B x T x 3 x H x W."""
    masks: Tensor
    """B x T x H x W, exactly 0 or 1."""
    ignore: Tensor
    """B x T x H x W, bool: pixels that do not count."""
    support_masks: Tensor
    """B x K x H x W, exactly 0 or 1."""


def unfreeze(model: DcSam, parts: Sequence[str], levels: bool = True) -> None:
    """Let parts of SAM 2 learn too; they stay in evaluation mode, without dropout.

    Args:
        parts: of `PARTS`. The decoder learns without its estimates of presence and of IoU, which
            the loss does not reach.
        levels: with the decoder, also the convolutions that bring SAM 2's finer feature levels to
            it; False for training on images.

    Raises:
        ValueError: there is no such part, or no memory.
    """
    if not model.has_memory:
        raise ValueError(f"videos need SAM 2, not {model.segmenter.name} of the first SAM")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(f"no part {unknown[0]!r} of SAM 2 can learn: choose of {PARTS}")
    network = model.segmenter.network
    if "memory" in parts:
        network.memory_attention.requires_grad_(True)
        network.memory_encoder.requires_grad_(True)
    if "decoder" in parts:
        frozen = _HEADS if levels else _HEADS + _LEVELS
        for name, parameter in network.sam_mask_decoder.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen))


def segment_tubes(
    model: DcSam, support: EncodedImages, support_masks: Tensor, frames: Tensor
) -> list[FramePrediction]:
    """Segment B short videos, each with its own support; in training, with gradients.

    Args:
        support: B*K encoded images.
        support_masks: exactly 0 or 1, B x K x H x W.
        frames: normalised, B x T x 3 x H x W.

    Returns:
        T predictions.
    """
    encoded = model.encode_support(support, support_masks)
    video = model.video([encoded], length=frames.shape[1])
    return [video.step(images) for images in frames.unbind(1)]


class TubeLoss(nn.Module):
    """The training loss of mask tubes (section 4.5); it adds no weights to the model's."""

    def __init__(self, model: DcSam) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, support: EncodedImages, tubes: LabelledTubes, options: LossOptions
    ) -> dict[str, Tensor]:
        """Equation 23, the mean over the frames; and of the first frame's pseudo mask if asked for.

        The release divides once, after it has summed over a clip's frames.

        Args:
            support: B*K encoded images.
        """
        frames = segment_tubes(self.model, support, tubes.support_masks, tubes.frames)
        logits = torch.stack([frame.raw_logits for frame in frames], dim=1)  # B T H W
        truth = (tubes.masks, tubes.ignore)
        if options.loss == "paper":
            samples = (tensor.flatten(0, 1) for tensor in (logits, *truth))
        else:
            samples = (logits, *truth)
        losses = {"mask": mask_loss(*samples, options.loss).mean()}
        if options.pseudo_weight:
            first = (tensor[:, 0] for tensor in truth)
            pseudo = mask_loss(frames[0].pseudo_logits, *first, options.loss).mean()
            losses["pseudo_mask"] = options.pseudo_weight * pseudo
        return losses
