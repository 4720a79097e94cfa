"""Label one picture, get the rest: any method as another program uses it.

    segmenter = InContextSegmenter.from_method("insid3", size="base")
    concept = segmenter.learn(image, mask)
    mask, score = segmenter.segment(photo, concept)
    for mask, score, box, _ in segmenter.segment_instances(photo, concept):
        ...
    for mask, score in segmenter.segment_video("video.mp4", concept):
        ...

Pictures are paths of files, Pillow images or arrays, as `common.images.rgb_pixels` takes them;
masks come back as arrays of the picture's own size, upright as its EXIF data say.
Shapes: B pictures, C concepts, K shots, S the side of the network's square, h and w the part of it
that shows a picture, H and W a picture's own size.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import torch

from common.cli import refuse_problems
from common.distributed import choose_device
from common.trainer import autocast
from common.video_io import FrameReader
from model.checkpoint import build_method, load_method
from model.instances import FoundObject, found_objects
from model.label_map import ConceptMask, LabelMap, Size
from model.method_in_use import Frames, MethodInUse, checked
from model.pictures import Picture, binary_mask, picture_pixels
from model.reference import LearnedConcept, Reference, read_references
from model.registry import METHODS
from model.thresholds import LEAST_SCORE
from model.tracking import TrackedFrame


class InContextSegmenter(MethodInUse):
    """Segments in any picture or video what reference pictures showed. Threads may share one."""

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

    @classmethod
    def from_method(
        cls,
        name: str,
        device: str | torch.device = "auto",
        precision: str = "fp32",
        fetch: bool = False,
        **options: Any,
    ) -> "InContextSegmenter":
        """Build a method from public weights, without a checkpoint.

        Args:
            name: such as "insid3"; see `available_methods`.
            device: as for `from_checkpoint`.
            fetch: whether official files that are missing may be fetched, with a progress bar.
            options: the method's own, such as `size="base"`.

        Raises:
            UsageError: an official file is missing (the message says how to get it), the options
                do not go together, or the method segments only what it was trained for.
            ValueError: there is no such method, option or precision.
        """
        if name not in METHODS:
            raise ValueError(f"unknown method {name!r}; there are {', '.join(METHODS)}")
        entry = METHODS[name]
        try:
            chosen = entry.options(**options)
        except TypeError as error:
            raise ValueError(f"{entry.title}: {error}") from None
        refuse_problems(chosen)
        with torch.random.fork_rng(devices=[]):
            return cls(build_method(chosen, choose_device(device), fetch)[0], precision)

    def learn(
        self,
        images: Picture | Sequence[Picture],
        masks: Picture | Sequence[Picture],
        name: str = "object",
        kinds: str | Sequence[str] = "mask",
    ) -> LearnedConcept:
        """Learn a concept from one reference picture and its mask, or from several (shots).

        What a method does not take itself, of points, boxes and scribbles, a SAM turns into a mask.

        Args:
            images: one picture or K of them.
            masks: as many masks, each of its picture's size, with 0 outside the object and one
                other value (or True) inside: on points, along strokes, or in a box.
            name: what the concept is called.
            kinds: what marks the object, one of `common.kinds.KINDS`, or one for each picture.

        Raises:
            UsageError: a file is missing or broken, or a mask has to be made and no SAM is there.
            ValueError: images and masks do not match, or a mask is empty or has other values.
        """
        images = [images] if isinstance(images, Picture) else list(images)
        masks = [masks] if isinstance(masks, Picture) else list(masks)
        kinds = [kinds] * len(images) if isinstance(kinds, str) else list(kinds)
        if not images or len({len(images), len(masks), len(kinds)}) > 1:
            raise ValueError(f"{len(images)} reference images but {len(masks)} masks")
        references = [
            Reference(picture_pixels(image), binary_mask(mask), kind)
            for image, mask, kind in zip(images, masks, kinds, strict=True)
        ]
        return self.learn_references(references, name)

    def load(self, path: Path | str) -> LearnedConcept:
        """Read a concept that was saved, and learn it again with this model.

        Raises:
            UsageError: the file is missing, broken or no concept.
        """
        name, references = read_references(Path(path))
        return self.learn_references(references, name)

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
        checked(concepts)
        if isinstance(pictures, Path | str):
            raise ValueError(f"pictures is a list: for one, {pictures}, there is `segment`")
        if not pictures:
            return []
        pixels = [picture_pixels(picture) for picture in pictures]
        sizes = sizes or [picture.shape[:2] for picture in pixels]
        found = self.predict(pixels, concepts, sizes)
        return [one.label_map(size, threshold) for one, size in zip(found, sizes, strict=True)]

    def segment_instances(
        self,
        picture: Picture,
        concepts: LearnedConcept | Sequence[LearnedConcept],
        threshold: float = LEAST_SCORE,
    ) -> list[FoundObject]:
        """Tell the objects of one or several concepts in a picture apart, the best first.

        Methods that score objects find them one by one, and masks may overlap. Of others the
        concept's mask is parted: by the method's proposals, or each connected part is an object.

        Args:
            threshold: objects with a lower score are left out.

        Raises:
            UsageError: a file is missing or broken.
            ValueError: no concept, or too many.
        """
        wanted = [concepts] if isinstance(concepts, LearnedConcept) else concepts
        [found] = self.find_instances([picture], wanted)
        return found_objects(found.scored(threshold))

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
            UsageError: the method has no memory and no SAM 2 is there, or the video is missing or
                broken.
            ValueError: no concept, or too many, or `prompt_every` is negative.
        """
        alone = isinstance(concepts, LearnedConcept)
        wanted = [concepts] if alone else concepts
        found = self.predict_video(frames, wanted, prompt_every)
        maps = (one.label_map(size, threshold) for one, size in found)
        return (ConceptMask(one.labels == 1, one.scores[0]) for one in maps) if alone else maps

    @torch.no_grad()
    def track_instances(
        self,
        frames: Frames,
        concepts: LearnedConcept | Sequence[LearnedConcept],
        threshold: float = LEAST_SCORE,
        look_every: int = 0,
    ) -> Iterator[TrackedFrame]:
        """Find the objects of concepts in a video and follow each, so that it keeps its number.

        Objects are found as `segment_instances` finds them, and followed by the method's memory, or
        by a SAM 2 where the method takes no given masks. Each frame's result comes before the next
        frame is taken.

        Args:
            threshold: objects that were found with a lower score are left out.
            look_every: look for more objects every so many frames; 0: only until some are found.

        Raises:
            UsageError: there is no SAM 2 where one is needed, or the video is missing or broken.
            ValueError: no concept, or too many, or `look_every` is negative.
        """
        if look_every < 0:
            raise ValueError(f"look_every is 0 or more frames, not {look_every}")
        wanted = checked([concepts] if isinstance(concepts, LearnedConcept) else concepts)
        tracker = self.tracker()
        opened = FrameReader(Path(frames)) if isinstance(frames, Path | str) else frames
        for number, frame in enumerate(opened):
            pixels = picture_pixels(frame)
            found = None
            if not tracker.concepts or (look_every and number % look_every == 0):
                found = self.find_instances([pixels], wanted)[0].scored(threshold)
            image = tracker.geometry.image(pixels)[None].to(self.device)
            with autocast(self.device, self.precision):
                yield tracker.step(image, found, pixels.shape[:2])
