"""Label one picture, get the rest: any method as another program uses it.

    segmenter = InContextSegmenter.from_checkpoint("last.safetensors")
    concept = segmenter.learn(image, mask)
    mask, score = segmenter.segment(photo, concept)
    for mask, score in segmenter.segment_video("video.mp4", concept):
        ...

Pictures are paths of files, Pillow images or arrays, as `common.images.rgb_pixels` takes them;
masks come back as arrays of the picture's own size, upright as its EXIF data say.
Shapes: B pictures, C concepts, K shots, S the network's image size, H and W a picture's own size.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.distributed import choose_device
from common.errors import UsageError
from common.images import open_image, read_image, rgb_pixels
from common.pixels import normalize, squash, squash_mask
from common.trainer import PRECISIONS, autocast
from common.video_io import FrameReader
from model.checkpoint import load_method
from model.label_map import ConceptMask, LabelMap, Size, label_map
from model.method import Method, VideoState
from model.reference import LearnedConcept, read_references
from model.sam.clicks import PromptedPicture

Picture = Image.Image | np.ndarray | Path | str
"""A picture or mask; a path is that of its file."""
Frames = Path | str | Iterable[Picture]
"""A video file, a folder of frames, or the frames themselves."""


class InContextSegmenter:
    """Segments in any picture or video what reference pictures showed. Threads may share one."""

    def __init__(self, method: Method, precision: str = "fp32") -> None:
        """Use a method that is in evaluation mode and on its device.

        Args:
            precision: of the forward pass: fp32, bf16 or fp16.

        Raises:
            ValueError: there is no such precision.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision}")
        self.method, self.image_size, self.precision = method, method.image_size, precision
        self.device = next(method.parameters()).device

    @property
    def is_calibrated(self) -> bool:
        """Whether presence scores are probabilities; else they only rank pictures."""
        return self.method.presence_scale is not None

    @classmethod
    def from_checkpoint(
        cls, path: Path | str, device: str | torch.device = "auto", precision: str = "fp32"
    ) -> "InContextSegmenter":
        """Build the model of a checkpoint file.

        Args:
            device: auto, or what `torch.device` takes: cpu, cuda, cuda:1, mps.

        Raises:
            UsageError: the file is missing, broken or no model, or there is no such device.
            ValueError: there is no such precision.
        """
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
            return cls(load_method(Path(path), choose_device(device))[0], precision)

    def learn(
        self,
        images: Picture | Sequence[Picture],
        masks: Picture | Sequence[Picture],
        name: str = "object",
    ) -> LearnedConcept:
        """Learn a concept from one reference picture and its mask, or from several (shots).

        Args:
            images: one picture or K of them.
            masks: as many masks, each of its picture's size, with 0 outside the object and one
                other value (or True) inside.
            name: what the concept is called.

        Raises:
            UsageError: a file is missing or broken.
            ValueError: images and masks do not match, or a mask is empty or has other values.
        """
        images = [images] if isinstance(images, Picture) else list(images)
        masks = [masks] if isinstance(masks, Picture) else list(masks)
        if not images or len(images) != len(masks):
            raise ValueError(f"{len(images)} reference images but {len(masks)} masks")
        pixels = [_pixels(image) for image in images]
        marked = [_binary(mask) for mask in masks]
        for picture, mask in zip(pixels, marked, strict=True):
            if picture.shape[:2] != mask.shape:
                raise ValueError(
                    f"a mask of {mask.shape[1]} x {mask.shape[0]} pixels for an image of "
                    f"{picture.shape[1]} x {picture.shape[0]}"
                )
        return self._learn(pixels, marked, name)

    def load(self, path: Path | str) -> LearnedConcept:
        """Read a concept that was saved, and learn it again with this model.

        Raises:
            UsageError: the file is missing, broken or no concept.
        """
        pictures, masks, name = read_references(Path(path))
        return self._learn(list(pictures), list(masks), name)

    def segment(
        self, picture: Picture, concept: LearnedConcept, threshold: float = 0.0
    ) -> ConceptMask:
        """Find the concept in one picture.

        Args:
            threshold: with a presence score below it the mask is empty.
        """
        return self.segment_batch([picture], concept, threshold)[0]

    def segment_batch(
        self, pictures: Sequence[Picture], concept: LearnedConcept, threshold: float = 0.0
    ) -> list[ConceptMask]:
        """Find the concept in several pictures at once; they may have different sizes."""
        maps = self.segment_classes(pictures, [concept], threshold)
        return [ConceptMask(one.labels == 1, one.scores[0]) for one in maps]

    @torch.no_grad()
    def segment_classes(
        self,
        pictures: Sequence[Picture],
        concepts: Sequence[LearnedConcept],
        threshold: float = 0.0,
        sizes: Sequence[Size] | None = None,
    ) -> list[LabelMap]:
        """Segment several concepts: the highest logit above 0 has a pixel.

        Args:
            concepts: 1 to 255.
            threshold: concepts with a presence score below it are left out.
            sizes: of the results, where the pictures were made smaller before (default: the
                pictures' own).

        Raises:
            UsageError: a file is missing or broken.
            ValueError: no concept, or too many, or a path in the place of several pictures.
        """
        _checked(concepts)
        if isinstance(pictures, Path | str):
            raise ValueError(f"pictures is a list: for one, {pictures}, there is `segment`")
        if not pictures:
            return []
        pixels = [_pixels(picture) for picture in pictures]
        sizes = sizes or [picture.shape[:2] for picture in pixels]
        logits, scores = self.predict(pixels, concepts)
        results = []
        for one, presences, size in zip(logits.unbind(1), scores.T.tolist(), sizes, strict=True):
            present = [c for c, score in enumerate(presences) if score >= threshold]
            results.append(LabelMap(label_map(one, present, size), tuple(presences)))
        return results

    @overload
    def segment_video(
        self,
        frames: Frames,
        concepts: LearnedConcept,
        prompt_every: int = 0,
        threshold: float = 0.0,
    ) -> Iterator[ConceptMask]: ...

    @overload
    def segment_video(
        self,
        frames: Frames,
        concepts: Sequence[LearnedConcept],
        prompt_every: int = 0,
        threshold: float = 0.0,
    ) -> Iterator[LabelMap]: ...

    def segment_video(
        self,
        frames: Frames,
        concepts: LearnedConcept | Sequence[LearnedConcept],
        prompt_every: int = 0,
        threshold: float = 0.0,
    ) -> Iterator[ConceptMask] | Iterator[LabelMap]:
        """Propagate one concept through a video, or several with at most one at each pixel.

        Frames are taken one at a time, and each one's result comes before the next frame is taken.
        The score is SAM 2's own estimate that the object is in the frame; below 0.5 nothing is
        marked.

        Args:
            frames: a path, or frames in the order of time.
            concepts: one: masks come back; or 1 to 255: labels come back.
            prompt_every: prompt as in a picture every so many frames, besides the first; 0: only
                there.
            threshold: frames with a score below it are empty; it counts from 0.5 on.

        Raises:
            UsageError: the checkpoint uses the first SAM, or the video is missing or broken.
            ValueError: no concept, or too many, or `prompt_every` is negative.
        """
        self.require_memory()
        alone = isinstance(concepts, LearnedConcept)
        wanted = _checked([concepts] if alone else concepts)
        video = self.method.video([concept.support for concept in wanted], prompt_every)
        opened = FrameReader(Path(frames)) if isinstance(frames, Path | str) else frames
        maps = self._segment_frames(video, opened, threshold)
        return (ConceptMask(one.labels == 1, one.scores[0]) for one in maps) if alone else maps

    def prompted(self, picture: Picture) -> PromptedPicture:
        """A picture in which clicks and boxes ask for masks, without any reference.

        Raises:
            UsageError: the method has no SAM that could be asked.
        """
        if self.method.promptable is None:
            raise UsageError(f"{self.method.name} takes no clicks: mark the object as a mask")
        with autocast(self.device, self.precision):
            return PromptedPicture(self.method.promptable, self._tensor(_pixels(picture)))

    def require_memory(self) -> None:
        """Refuse a method that cannot segment videos.

        Raises:
            UsageError: it cannot.
        """
        if not self.method.has_memory:
            raise UsageError(
                "videos need a checkpoint with SAM 2: this one has no memory (train_video.py "
                "trains one that has)"
            )

    @torch.no_grad()
    def _segment_frames(
        self, video: VideoState, frames: Iterable[Picture], threshold: float
    ) -> Iterator[LabelMap]:
        for frame in frames:
            pixels = _pixels(frame)
            image = self._tensor(pixels)
            with autocast(self.device, self.precision):
                prediction = video.step(image)
            scores = prediction.object_logit.float().sigmoid().tolist()
            there = (prediction.object_logit > 0).tolist()
            present = [c for c, score in enumerate(scores) if there[c] and score >= threshold]
            labels = label_map(prediction.logits, present, pixels.shape[:2])
            yield LabelMap(labels, tuple(scores))

    @torch.no_grad()
    def predict(
        self, pictures: Sequence[Picture], concepts: Sequence[LearnedConcept]
    ) -> tuple[Tensor, Tensor]:
        """Predictions before any threshold; each picture is encoded once.

        Returns:
            Logits C x B x S x S, for `label_map`, and presence scores C x B.
        """
        pixels = [_pixels(picture) for picture in pictures]
        batch = torch.cat([self._tensor(image) for image in pixels])
        with autocast(self.device, self.precision):
            images = self.method.encode(batch)
            predictions = [
                self.method.predict(images, concept.support.expand(len(pixels)))
                for concept in concepts
            ]
        return (
            torch.stack([prediction.logits for prediction in predictions]),
            torch.stack([prediction.presence for prediction in predictions]),
        )

    def _tensor(self, pixels: np.ndarray) -> Tensor:
        """H x W x 3 uint8 as the method takes it, 1 x 3 x S x S."""
        return normalize(squash(pixels, self.image_size))[None].to(self.device)

    @torch.no_grad()
    def _learn(
        self, pixels: list[np.ndarray], masks: list[np.ndarray], name: str
    ) -> LearnedConcept:
        self.method.refuse_shots(len(pixels))
        side = self.image_size
        pictures = np.stack([squash(image, side) for image in pixels])
        small = torch.stack([squash_mask(mask, side, keep_small=True) for mask in masks])
        batch = torch.stack([normalize(picture) for picture in pictures])
        with autocast(self.device, self.precision):
            images = self.method.encode(batch.to(self.device), support_only=True)
            support = self.method.encode_support(images, small[None].to(self.device))
        return LearnedConcept(name, pictures, small.byte().numpy(), support)


def _checked(concepts: Sequence[LearnedConcept]) -> Sequence[LearnedConcept]:
    if not 0 < len(concepts) < 256:
        raise ValueError(
            f"between 1 and 255 concepts can be segmented together, not {len(concepts)}"
        )
    return concepts


def _pixels(picture: Picture) -> np.ndarray:
    """H x W x 3 uint8."""
    return read_image(Path(picture)) if isinstance(picture, Path | str) else rgb_pixels(picture)


def _binary(mask: Picture) -> np.ndarray:
    """A mask of 0 and one other value as H x W bool; of a palette image the indices count."""
    if isinstance(mask, Path | str):
        with open_image(Path(mask), "mask") as stored:
            values = np.array(stored)
    else:
        values = np.asarray(mask)
    kinds = np.unique(values)
    if values.ndim != 2 or len(kinds) > 2 or (len(kinds) == 2 and kinds[0] != 0):
        raise ValueError(
            "a mask is H x W with 0 outside the object and one other value inside, not an array "
            f"of shape {values.shape} with {len(kinds)} values"
        )
    if not kinds.any():
        raise ValueError("empty mask: the reference marks no pixel")
    return values != 0
