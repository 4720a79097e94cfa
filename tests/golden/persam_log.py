"""What PerSAM's decoder was asked and answered, under the names of the golden values."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.persam import guided_decoder, scale_training
from model.persam.features import Pictures
from model.persam.frame import Frame
from model.persam.guided_decoder import GuidedTransformer
from model.persam.passes import Decoder, GuidedPass
from model.persam.scale_training import Step
from model.sam.segmenter import DecodedMasks
from tests.golden.golden_set import Weights, assert_close, summary

FLIPPED_SHARE = 1e-3
"""Of a mask's pixels, those whose logits are nearly 0."""
TOLERANCES = {
    # After two mask prompts: their layer norms raise rounding errors wherever a logit is near 0, so
    # that attention kernels and numbers of threads differ by 1.4e-3 among themselves.
    r".*prompt[25]/(low_res|high_res)_": 3e-3,
    r"(.*/)?(low_res|high_res|mask_input)_": 1e-3,
    r"(.*/)?(first/|features_|cosine_|guidance_|target_embedding|mask_64|iou|training)": 1e-4,
    r".*(_1024)": 1e-3,  # pixels of the square, from whole pixels of the picture
    r".*": 0.0,  # points, labels, boxes and shapes
}


@dataclass
class Call:
    """One pass over a batch of pictures or objects."""

    frames: list[Frame]
    points: Tensor
    """In the square, B x N x 2."""
    labels: list[int]
    boxes: Tensor | None
    """In the square, B x 4."""
    masks: Tensor | None
    decoded: DecodedMasks
    single: bool


def stats(values: Tensor) -> Tensor:
    """Mean, deviation, minimum, maximum and share above 0 of a whole tensor: 5."""
    return summary(values.float().reshape(1, 1, -1))[0]


@dataclass
class Log:
    """The calls of a run, in order, and what went through the guided pass."""

    calls: list[Call] = field(default_factory=list)
    guided: list[Weights] = field(default_factory=list)

    def prompt(self, call: Call, row: int, sampled: bool) -> Weights:
        """A pass over one picture or object.

        Args:
            sampled: the files hold every 8th value and means of 4 x 4, not every 16th.
        """
        rows = slice(0, 1) if call.single else slice(1, 4)
        low = call.decoded.logits[row, rows]
        high = call.frames[row].restore(low)
        found = {
            "points_1024": call.points[row],
            "labels": torch.tensor(call.labels, dtype=torch.int32),
            "iou": call.decoded.quality[row, rows],
            "low_res_stats": stats(low),
            "high_res_stats": stats(high),
        }
        if sampled:
            found["low_res_avg64"] = F.avg_pool2d(low, 4)
            found["low_res_stride8"] = low[:, 3::8, 3::8]
            found["mask_bits"], found["mask_shape"] = high > 0, torch.tensor(high.shape)
        else:
            found["low_res_stride16"] = low[:, 7::16, 7::16]
        if call.boxes is not None:
            found["box_1024"] = call.boxes[row]
        if call.masks is not None:
            found["mask_input_stats"] = stats(call.masks[row])
        return found


@contextmanager
def logged() -> Iterator[Log]:
    """Keep what happens in the decoder."""
    log = Log()
    decode, attend, transform = (
        Decoder.decode,
        guided_decoder.guided_attention,
        GuidedTransformer.__call__,
    )
    attended: list[Tensor] = []

    def keep_decode(
        self: Decoder,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        guided: GuidedPass | None = None,
    ) -> DecodedMasks:
        decoded = decode(self, boxes, masks, guided)
        placed = None if boxes is None else self._placed(boxes.unflatten(1, (2, 2))).flatten(1)
        log.calls.append(
            Call(
                list(self.frames),
                self._points,
                self.labels,
                placed,
                masks,
                decoded,
                guided is not None,
            )
        )
        return decoded

    def keep_attend(*inputs: object) -> Tensor:
        attended.append(attend(*inputs))
        return attended[-1]

    def keep_transform(
        self: GuidedTransformer, image: Tensor, position: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        attended.clear()
        out, image_out = transform(self, image, position, tokens)
        log.guided.append(
            {
                "tokens_in": tokens[0],
                "attention0_out": attended[0][0],
                "attention1_out": attended[1][0],
                "tokens_out": out[0],
                "image_out_s": image_out[0, ::64, ::16],
                "guidance_64": self.guidance[0].view(64, 64),
            }
        )
        return out, image_out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "decode", keep_decode)
        patch.setattr(guided_decoder, "guided_attention", keep_attend)
        patch.setattr(GuidedTransformer, "__call__", keep_transform)
        yield log


@contextmanager
def logged_training() -> Iterator[list[Step]]:
    """Keep the steps of PerSAM-F's training."""
    steps: list[Step] = []
    train = scale_training.training_steps

    def keep(*inputs: object) -> Iterator[Step]:
        for step in train(*inputs):
            steps.append(step)
            yield step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale_training, "training_steps", keep)
        yield steps


def training_values(steps: list[Step], every: int = 1) -> Tensor:
    """Rows of dice, focal, rate, w1, w2 and the gradient of the step before."""
    gradients = [(0.0, 0.0), *(step.gradient for step in steps)]
    rows = [
        [step.dice, step.focal, step.rate, *step.learned, *gradient]
        for step, gradient in zip(steps, gradients, strict=False)
    ]
    return torch.tensor(rows)[::every]


def feature_values(pictures: Pictures) -> Weights:
    embedding = pictures.sam.embedding[0]
    return {"features_s": embedding[::16, ::4, ::4], "features_stats": stats(embedding)}


def named(prefix: str, values: Weights) -> Weights:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def assert_equal(found: Weights, expected: Weights) -> None:
    """All names; masks may differ in few pixels, everything else within its tolerance."""
    bits = {name for name in expected if name.endswith("_bits")}
    assert bits == {name for name in found if name.endswith("_bits")}
    for name in bits:
        count = found[name].numel()
        unpacked = np.unpackbits(expected[name].numpy())[:count].astype(bool)
        flipped = (found[name].flatten().numpy() != unpacked).mean()
        assert flipped <= FLIPPED_SHARE, f"{name} differs in {flipped:.2%} of the pixels"
    assert_close(
        {name: value for name, value in found.items() if name not in bits},
        {name: value for name, value in expected.items() if name not in bits},
        TOLERANCES,
    )
