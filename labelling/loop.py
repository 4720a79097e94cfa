"""One target after the other: read it, segment it, write its results; what cannot be is named."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from common.errors import UsageError
from common.images import read_photo
from common.video_io import FrameReader
from labelling.label_folder import VideoResults, preview
from labelling.objects import (
    Labels,
    labels_of_instances,
    labels_of_tracked,
    split_into_objects,
)
from labelling.options import LabellingOptions
from labelling.records import Source
from labelling.results import Picture, PictureResults, report
from labelling.targets import Target
from model.instances import Instances, enlarged, found_objects
from model.label_map import Found, Size, label_map
from model.predictor import InContextSegmenter
from model.reference import LearnedConcept


@dataclass(frozen=True)
class OpenPicture:
    """A picture that was read, no larger than needed."""

    source: Source
    size: tuple[int, int]
    """Height and width of the picture."""
    small: np.ndarray
    """h x w x 3 uint8, what the network sees."""
    preview: np.ndarray | None
    """What the overlay is drawn on."""


@dataclass(frozen=True)
class Labelling:
    """Labels targets with some concepts; its methods return how many targets failed."""

    segmenter: InContextSegmenter
    concepts: dict[int, LearnedConcept]
    """Class id -> concept."""
    folder: PictureResults
    """Takes what is found; for videos a `LabelFolder`."""
    options: LabellingOptions
    threshold: float
    """Classes with a lower score are left out."""
    prompt_every: int = 0
    """Prompt again every so many frames of a video; 0: on the first frame only."""
    silent: bool = False
    """Show no progress."""

    def label_pictures(self, targets: Sequence[Picture]) -> int:
        """Label pictures, some at a time, while threads read the next."""
        size, failures = self.options.bsz, 0
        reading: deque[list[tuple[Picture, Future[OpenPicture]]]] = deque()
        bar = tqdm(total=len(targets), desc="pictures", disable=self.silent or not targets)
        with ThreadPoolExecutor(self.options.nworker) as pool, bar:
            for first in range(0, len(targets), size):
                batch = targets[first : first + size]
                reading.append([(one, pool.submit(self.open_picture, one)) for one in batch])
                if len(reading) * size > self.options.nworker:
                    failures += self.label_batch(reading.popleft())
                    bar.update(size)
            for batch in reading:
                failures += self.label_batch(batch)
                bar.update(len(batch))
        return failures

    def open_picture(self, target: Picture) -> OpenPicture:
        """Read a picture as the network and the overlay need it.

        Raises:
            UsageError: it is missing or broken.
        """
        source, file = self.folder.open(target)
        photo = read_photo(file)
        shown = preview(photo.pixels, photo.size) if self.folder.overlays else None
        method = self.segmenter.method
        geometry = method.instance_geometry if self.scored else method.geometry
        small = geometry.picture(photo.pixels)
        return OpenPicture(source, photo.size, small, shown)

    def label_batch(self, reading: Sequence[tuple[Picture, Future[OpenPicture]]]) -> int:
        """Label those of some pictures that can be read in one forward pass."""
        failures, pictures = 0, []
        for target, future in reading:
            try:
                pictures.append((target, future.result()))
            except UsageError as error:
                self.folder.fail(target, error)
                failures += 1
        if not pictures:
            return failures
        given = [picture.small for _, picture in pictures], list(self.concepts.values())
        sizes = [picture.size for _, picture in pictures]
        look = self.segmenter.find_instances if self.scored else self.segmenter.predict
        for (target, picture), found in zip(pictures, look(*given, sizes=sizes), strict=True):
            labels = self.labels_of(found, picture.size)
            try:
                self.folder.write(target, picture.source, labels, picture.preview)
            except UsageError as error:
                self.folder.fail(target, error)
                failures += 1
        return failures

    @property
    def scored(self) -> bool:
        """Whether objects are wanted, and the method scores them itself."""
        return self.options.instances and self.segmenter.method.scores_instances

    def labels_of(self, found: Found | Instances, size: Size) -> Labels:
        """What was found in a picture of some height and width, by class id."""
        if isinstance(found, Instances):
            least = max(self.threshold, self.options.instance_score)
            return labels_of_instances(found_objects(found.scored(least)), [*self.concepts], size)
        present = [c for c, score in enumerate(found.scores) if score >= self.threshold]
        labels = self.by_class_id(label_map(found.logits, present, size), found.scores)
        if not self.options.instances:
            return labels
        objects = zip(self.concepts, found.objects, strict=True)
        proposals = {c: enlarged(some, size) for c, some in objects if some is not None}
        return split_into_objects(labels, proposals)

    def label_videos(self, targets: Sequence[Target]) -> int:
        """Label videos one by one."""
        failures = 0
        for target in targets:
            try:
                self.label_video(target)
            except UsageError as error:
                report(error)
                failures += 1
        return failures

    def label_video(self, target: Target) -> None:
        """Label a video frame by frame.

        Raises:
            UsageError: it cannot be read, or a file cannot be written.
        """
        with (
            FrameReader(target.path) as reader,
            VideoResults(self.folder, target, reader.frames_per_second) as results,
        ):
            found = self.video_labels(reader)
            for one in tqdm(found, target.name, reader.count, unit="frame", disable=self.silent):
                results.add(one, reader.current)

    def video_labels(self, reader: FrameReader) -> Iterator[Labels]:
        """What is found in each frame; objects that the method scores keep their numbers."""
        concepts, again = list(self.concepts.values()), self.prompt_every
        if self.scored:
            least = max(self.threshold, self.options.instance_score)
            for one in self.segmenter.track_instances(reader, concepts, least, again):
                yield labels_of_tracked(one, [*self.concepts])
            return
        for maps in self.segmenter.segment_video(reader, concepts, again, self.threshold):
            labels = self.by_class_id(*maps)
            yield split_into_objects(labels) if self.options.instances else labels

    def by_class_id(self, labels: np.ndarray, scores: Sequence[float]) -> Labels:
        """Labels and scores by class id instead of by position."""
        class_ids = np.array([0, *self.concepts], dtype=np.uint8)
        return Labels(class_ids[labels], dict(zip(self.concepts, scores, strict=True)))
