"""A method in use: pictures in, what is found before any threshold out; each is encoded once.

`model.predictor` makes of it what people ask for.
Shapes: B pictures, C concepts, K shots, S the side of the network's square, h and w the part of it
that shows a picture, H and W a picture's own size.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from common.geometry import Geometry
from common.trainer import autocast
from common.training_options import PRECISIONS
from common.video_io import FrameReader
from model.beside import SamsBeside
from model.first_frame import FirstFrameVideo
from model.instances import Instances
from model.label_map import Found, Size
from model.method import Method
from model.method_data import Support, VideoState
from model.pictures import Picture, picture_pixels
from model.reference import LearnedConcept, Reference
from model.sam.clicks import PromptedPicture
from model.sam.sam2 import ABSENT_LOGIT
from model.sam.video_predictor import VideoPredictor
from model.tracking import ObjectTracker

Frames = Path | str | Iterable[Picture]
"""A video file, a folder of frames, or the frames themselves."""


class MethodInUse:
    """Runs a method over pictures and videos. Threads may share one."""

    def __init__(self, method: Method, precision: str = "fp32") -> None:
        """Use a method that is in evaluation mode and on its device.

        Args:
            precision: of the forward pass: fp32, bf16 or fp16.

        Raises:
            ValueError: there is no such precision.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision}")
        self.method, self.geometry, self.precision = method, method.geometry, precision
        self.device = next(method.parameters()).device
        self.sams = SamsBeside(method, self.device, precision)
        """For marks that the method does not take, and for videos where it has no memory."""

    @property
    def is_calibrated(self) -> bool:
        """Whether presence scores are probabilities; else they only rank pictures."""
        return self.method.presence_scale is not None

    @property
    def caution(self) -> str | None:
        """What whoever has photographs must know before using it; None: nothing."""
        if self.method.untrained:
            return "what draws its masks was never trained: expect nothing of them"
        if self.method.knows_drawings_only or self.method.domain == "drawings":
            return "it learned from drawings alone: expect no useful masks on photographs"
        return None

    def predict_video(
        self, frames: Frames, concepts: Sequence[LearnedConcept], prompt_every: int = 0
    ) -> Iterator[tuple[Found, Size]]:
        """What is found in each frame before any threshold, and the frame's height and width.

        The arguments and errors are those of `segment_video`. Where a concept is absent its logits
        are far below 0.
        """
        self.require_memory()
        supports = [concept.support for concept in checked(concepts)]
        if self.method.has_memory:
            video = self.method.video(supports, prompt_every)
        else:
            video = FirstFrameVideo(self.method, supports, self.sams.for_videos(), prompt_every)
        opened = FrameReader(Path(frames)) if isinstance(frames, Path | str) else frames
        return self._predict_frames(video, opened)

    def tracker(self) -> ObjectTracker:
        """The method's own way to follow objects, or SAM 2's."""
        if self.method.takes_given_masks:
            return ObjectTracker(self.method.video([]), self.method.tracking_geometry)
        sam2 = self.sams.for_videos()
        return ObjectTracker(VideoPredictor(sam2), Geometry(sam2.image_size))

    def prompted(self, picture: Picture) -> PromptedPicture:
        """A picture in which clicks and boxes ask for masks, without any reference.

        The SAM is the method's own, or the best whose official file is there.

        Raises:
            UsageError: there is none.
        """
        return self.sams.prompted(picture_pixels(picture))

    def require_memory(self) -> None:
        """Check before work begins that videos can be segmented.

        Raises:
            UsageError: the method has no memory, and no SAM 2 is there to carry its masks on.
        """
        if not self.method.has_memory:
            self.sams.for_videos()

    @torch.no_grad()
    def _predict_frames(
        self, video: VideoState, frames: Iterable[Picture]
    ) -> Iterator[tuple[Found, Size]]:
        for frame in frames:
            pixels = picture_pixels(frame)
            size = pixels.shape[:2]
            image = self.geometry.image(pixels)[None].to(self.device)
            with autocast(self.device, self.precision):
                prediction = video.step(image, sizes=torch.tensor([size]))
            scores = tuple(prediction.object_logit.float().sigmoid().tolist())
            absent = (prediction.object_logit <= 0)[:, None, None]
            logits = prediction.logits.masked_fill(absent, ABSENT_LOGIT)
            logits = self.geometry.crop(logits, size)
            yield Found(logits, scores, (None,) * len(scores)), size

    @torch.no_grad()
    def predict(
        self,
        pictures: Sequence[Picture],
        concepts: Sequence[LearnedConcept],
        sizes: Sequence[Size] | None = None,
        instances: bool = False,
    ) -> list[Found]:
        """What is found in each picture, before any threshold; each is encoded once.

        Args:
            sizes: see `segment_classes`.
            instances: of methods that score objects, the objects too.
        """
        pixels = [picture_pixels(picture) for picture in pictures]
        sizes = sizes or [picture.shape[:2] for picture in pixels]
        batch = torch.stack([self.geometry.image(image) for image in pixels])
        with autocast(self.device, self.precision):
            images = self.method.features(batch.to(self.device), sizes=torch.tensor(sizes))
            supports = [concept.support.expand(len(pixels)) for concept in concepts]
            predictions = self.method.predict_together(images, supports)
        objects: Sequence[Instances | None] = [None] * len(pixels)
        if instances and self.method.scores_instances:
            shown = [self.geometry.content(size) for size in sizes]
            if self.method.instance_geometry == self.geometry:
                objects = self.method.find_instances(images, supports, shown)
            else:
                objects = self.find_instances(pixels, concepts, shown)
        logits = torch.stack([prediction.logits for prediction in predictions], dim=1)
        scores = torch.stack([prediction.presence for prediction in predictions], dim=1)
        return [
            Found(
                self.geometry.crop(logits[row], size),
                tuple(scores[row].tolist()),
                tuple(
                    None if one.objects is None else self.geometry.crop(one.objects[row], size)
                    for one in predictions
                ),
                objects[row],
            )
            for row, size in enumerate(sizes)
        ]

    @torch.no_grad()
    def find_instances(
        self,
        pictures: Sequence[Picture],
        concepts: Sequence[LearnedConcept],
        sizes: Sequence[Size] | None = None,
    ) -> list[Instances]:
        """The objects in each picture, before any threshold; see `Method.find_instances`.

        Args:
            sizes: see `segment_classes`; masks have them.
        """
        geometry = self.method.instance_geometry
        pixels = [picture_pixels(picture) for picture in pictures]
        sizes = sizes or [picture.shape[:2] for picture in pixels]
        batch = torch.stack([geometry.image(image) for image in pixels])
        supports = [
            concept.support
            if geometry == self.geometry
            else self._support(concept.references, concept.name, geometry)
            for concept in checked(concepts)
        ]
        with autocast(self.device, self.precision):
            images = self.method.features(batch.to(self.device), sizes=torch.tensor(sizes))
            wanted = [support.expand(len(pixels)) for support in supports]
            return self.method.find_instances(images, wanted, sizes)

    def learn_references(self, references: Sequence[Reference], name: str) -> LearnedConcept:
        self.method.refuse_shots(len(references))
        kept = tuple(reference.reduced() for reference in references)
        return LearnedConcept(name, kept, self._support(kept, name, self.geometry))

    @torch.no_grad()
    def _support(self, references: Sequence[Reference], name: str, geometry: Geometry) -> Support:
        """What the method takes from references that come to a square in some way."""
        taken = [self.sams.as_taken(reference) for reference in references]
        images = torch.stack([geometry.image(one.pixels) for one in taken])
        marks = torch.stack([geometry.mark(one.mark, one.kind) for one in taken])
        sizes = torch.tensor([one.mark.shape for one in taken])
        with autocast(self.device, self.precision):
            encoded = self.method.features(images.to(self.device), support_only=True, sizes=sizes)
            return self.method.encode_support(
                encoded, marks[None].to(self.device), [[one.kind for one in taken]], [name]
            )


def checked(concepts: Sequence[LearnedConcept]) -> Sequence[LearnedConcept]:
    if not 0 < len(concepts) < 256:
        raise ValueError(
            f"between 1 and 255 concepts can be segmented together, not {len(concepts)}"
        )
    return concepts
