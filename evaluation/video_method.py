"""What segments videos: a method from first to last frame, or SAM 2 that carries masks on."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from common.errors import UsageError
from common.geometry import Geometry
from common.kinds import REFERENCE_KINDS, kinds_of
from common.trainer import autocast
from data.benchmarks import Split
from data.episode import read_supports
from data.marking import Marking
from data.video_benchmarks import VideoDataOptions
from data.video_items import VideoItem
from evaluation.video_options import FrameOptions, VideoMethodOptions
from model.checkpoint import build_method, load_method
from model.encoding import compile_encoders
from model.first_frame import FirstFrameVideo
from model.method import Method
from model.method_data import Support, VideoState
from model.method_options import MethodOptions
from model.sam.sam2 import Sam2
from model.sam.variants import frozen_segmenter
from model.sam.video_predictor import VideoPredictor
from model.sam.video_wiring import PACKAGE_VIDEO, STREAMING, WIRINGS, VideoWiring


@dataclass(frozen=True)
class VideoMethod:
    """What segments videos: a method, or SAM 2 alone where masks are given."""

    method: Method | None
    """None: masks are given."""
    segmenter: Sam2 | None
    """Carries masks on, given ones or those of a method; None: the method does all by itself."""
    wiring: VideoWiring
    geometry: Geometry
    """How frames come to the square S x S."""
    prompt_every: int
    precision: str
    device: torch.device
    marking: Marking | None = None
    """How supports are marked; None: by their masks."""

    @property
    def takes_empty_masks(self) -> bool:
        """Whether an object that is given by an empty mask is told to it; else it is not there."""
        return self.segmenter is not None

    def video(self, supports: Sequence[Support], length: int) -> VideoState:
        """Begin a video with supports, or with none where masks are given.

        Args:
            length: how many frames will be looked at.
        """
        if self.segmenter is None:
            return self.method.video(supports, self.prompt_every, length, self.wiring)
        if not supports:
            return VideoPredictor(self.segmenter, wiring=self.wiring, length=length)
        return FirstFrameVideo(
            self.method, supports, self.segmenter, self.prompt_every, length, self.wiring
        )

    @torch.no_grad()
    def encode_support(self, item: VideoItem, split: Split | None) -> Support | None:
        """What an item's support says; None where masks are given.

        Args:
            split: where the supports' images are read.
        """
        if item.given:
            return None
        support = read_supports(split, item.support, self.geometry)
        images = support.images[0].to(self.device)
        with autocast(self.device, self.precision):
            encoded = self.method.features(images, support_only=True, sizes=support.sizes[0])
            marks, kinds = support.masks[0], None
            if self.marking:  # an item's own number, whichever other items there are
                marks, drawn = self.marking.mark(marks, zlib.crc32(item.name.encode()))
                kinds = [drawn]
            return self.method.encode_support(
                encoded, marks[None].to(self.device), kinds, [item.class_name]
            )


def load_video_method(
    data: VideoDataOptions,
    options: VideoMethodOptions,
    frames: FrameOptions,
    method_options: MethodOptions | None,
    device: torch.device,
) -> tuple[VideoMethod, dict[str, Any]]:
    """What segments the videos, and what the checkpoint's header says.

    Raises:
        UsageError: weights are missing or broken, or the method cannot do what is asked.
    """
    facts, method, carrier = {"untrained": True}, None, None  # SAM 2 alone learned no class
    if method_options:
        method, facts = build_method(method_options, device, options.fetch)
    if options.ckpt:
        method, facts = load_method(options.ckpt, device)
    if options.variant:
        if method and data.given:
            raise UsageError(
                f"masks are given, and --sam2_cfg carries them on: {method.name} has no part in it"
            )
        torch.manual_seed(0)  # random weights are the same in every process
        given = options.sam2_checkpoint
        carrier = frozen_segmenter(2, options.variant, given, shrunk=frames.shrunk)
        carrier = carrier.eval().to(device)
    elif data.given:
        carrier = None if method.takes_given_masks else method.promptable
        if not (method.takes_given_masks or isinstance(carrier, Sam2)):
            raise UsageError(
                f"{method.name} takes no given masks: name a SAM 2 by --sam2_cfg alone"
            )
    elif not method.has_memory:
        raise UsageError(
            f"{method.name} has no memory: --sam2_cfg names the SAM 2 that carries its masks on"
        )
    if method:
        method.refuse_shots(data.nshot)
        method.refuse_kinds(kinds_of(REFERENCE_KINDS[data.reference_kind]))
    if options.compile:
        for network in filter(None, (method, carrier)):
            compile_encoders(network)
    loaded = VideoMethod(
        method,
        carrier,
        wiring=_wiring(data, options, method),
        geometry=_geometry(data, frames, method, carrier),
        prompt_every=options.prompt_every,
        precision=options.precision,
        device=device,
        marking=method and Marking.of_references(data.reference_kind, method.box_rule, data.seed),
    )
    return loaded, facts


def _wiring(
    data: VideoDataOptions, options: VideoMethodOptions, method: Method | None
) -> VideoWiring:
    """How SAM 2 propagates frames."""
    if options.wiring:
        return WIRINGS[options.wiring]
    if method and not options.variant and method.video_wiring != STREAMING:
        return method.video_wiring
    return STREAMING if data.benchmark == "icvos" else PACKAGE_VIDEO


def _geometry(
    data: VideoDataOptions, frames: FrameOptions, method: Method | None, carrier: Sam2 | None
) -> Geometry:
    """How frames come to the square."""
    if data.given and carrier is None:
        own = method.tracking_geometry
    elif method and data.benchmark == "icvos":
        own = method.geometry
    else:
        own = Geometry(carrier.image_size)
    if not frames.image_size:
        return own
    if own.padded:
        raise UsageError(f"--image_size: {method.name} pads frames and takes no other size")
    return Geometry(frames.image_size)
