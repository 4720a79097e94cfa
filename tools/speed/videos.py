"""Videos: SAM 2's memory as this project drives it, against the predictor of the sam2 package.

The same weights, frames and first masks; masks are carried on as the package does it.
Shapes: N objects, T frames, S side of frames.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor

from common.distributed import forget_peak, peak_memory
from common.geometry import Geometry
from model.sam.sam2 import Sam2, configuration
from model.sam.video_predictor import VideoPredictor
from model.sam.video_wiring import PACKAGE_VIDEO, STREAMING
from tools.speed.images import logit_difference
from tools.speed.measure import Machine, Work
from tools.speed.report import Row

TARGET = 0.7
"""Of the package's seconds for a frame."""
THREE_TARGET = 1.5
"""Of the seconds for one object, at most, when there are three."""
PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictor"


def measure_videos(sam2: Sam2, title: str, machine: Machine, frames: int, rounds: int) -> list[Row]:
    """A frame of a short video, with one object and with three."""
    side = sam2.image_size
    package = package_predictor(sam2)
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_frames(Path(folder), frames, side)
        geometry = Geometry(side)
        images = torch.stack([geometry.image(picture) for picture in pictures])
        works: dict[str, Work] = {}
        for count in (1, 3):
            masks = squares(count, side)
            works[f"{count}"] = lambda m=masks: carry(sam2, images.to(machine.device), m)
            works[f"{count}, package"] = lambda m=masks: carry_by_package(package, folder, m)
        measured = machine.in_turns(works, rounds, ("1", "3"), f"{title}, video")
    rows = []
    for count, name in ((1, "one object"), (3, "three objects")):
        ours, base = measured[f"{count}"], measured[f"{count}, package"]
        part = f"a frame of {frames}, {name}"
        rows.append(
            Row(
                subject=title,
                part=part,
                seconds=ours.cost.seconds / frames,
                wall=ours.cost.wall / frames,
                plain_seconds=base.cost.seconds / frames,
                target=TARGET,
                gflop=ours.operations / 1e9 / frames,
                share_of_limit=machine.share_of_limit(ours),
                kinds=ours.kinds,
                difference=logit_difference(ours.result, base.result),
            )
        )
    one, three = rows
    together = Row(
        subject=title,
        part="three objects beside one",
        seconds=three.seconds,
        wall=three.wall,
        plain_seconds=one.seconds,
        target=THREE_TARGET,
    )
    return [*rows, together]


def package_predictor(sam2: Sam2) -> torch.nn.Module:
    """The package's own predictor with the same weights."""
    settings = configuration(sam2.name)
    settings._target_ = PREDICTOR
    predictor = instantiate(settings, _recursive_=True).eval()
    predictor.load_state_dict(sam2.network.state_dict())
    return predictor.to(sam2.device)


def write_frames(folder: Path, frames: int, side: int) -> list[np.ndarray]:
    """Noise that moves, as JPEG files; what they show when they are read again."""
    cells = np.random.default_rng(0).integers(0, 256, (side // 32, side // 32, 3), dtype=np.uint8)
    large = np.array(Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC))
    pictures = []
    for number in range(frames):
        path = folder / f"{number:05d}.jpg"
        Image.fromarray(np.roll(large, 8 * number, axis=1)).save(path)
        pictures.append(np.array(Image.open(path)))
    return pictures


def squares(count: int, side: int) -> Tensor:
    """Objects side by side, N x S x S bool."""
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    width = side // 8
    for number in range(count):
        left = width + 2 * width * number
        masks[number, 2 * width : 4 * width, left : left + width] = True
    return masks


@torch.no_grad()
def carry(sam2: Sam2, images: Tensor, masks: Tensor) -> Tensor:
    """Logits, T x N x S x S; frames are T x 3 x S x S."""
    video = VideoPredictor(sam2, wiring=PACKAGE_VIDEO, length=len(images))
    first = video.step(images[:1], masks).logits
    return torch.stack([first, *(video.step(image[None]).logits for image in images[1:])])


def carry_by_package(predictor: torch.nn.Module, folder: str, masks: Tensor) -> Tensor:
    """The same by the package's predictor, which reads the frames itself."""
    state = predictor.init_state(folder)
    for number, mask in enumerate(masks):
        predictor.add_new_mask(state, 0, number, mask)
    return torch.stack([logits[:, 0] for _, _, logits in predictor.propagate_in_video(state)])


@torch.no_grad()
def memory_over_length(sam2: Sam2, machine: Machine, lengths: list[int]) -> Iterator[dict]:
    """What a video has cost after so many frames: numbers remembered, memory, seconds a frame."""
    side = sam2.image_size
    image = torch.randn(1, 3, side, side, device=machine.device)
    video = VideoPredictor(sam2, wiring=STREAMING)
    video.step(image, squares(1, side))
    before, start = 1, machine.seconds()
    for length in lengths:
        forget_peak(machine.device)
        while video.index < length:
            video.step(image)
        spent = (machine.seconds() - start) / max(1, length - before)
        yield {
            "frames": length,
            "seconds": spent,
            "numbers": sum(bank.numbers for bank in video.banks),
            "peak_memory_gib": peak_memory(machine.device) / 2**30,
        }
        before, start = length, machine.seconds()
