"""PerSAM's own way through a video: each object by its target and its box on the frame before.

There is no memory besides the boxes. Source: the release's video scripts, which are given the masks
of the first frame (DAVIS); without them that frame is segmented as a picture.
Shapes: N objects, S side of the square, s side of SAM's embedding, H and W the frames' own size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.method_data import Prediction
from model.persam.features import Pictures, Support
from model.persam.frame import mask_box
from model.persam.location import cosine_map, find_target, highest_places, locate
from model.persam.network import PerSamImages
from model.persam.passes import Decoder, Found
from model.persam.rules import Training
from model.persam.scale_training import VIDEO_TRAINING, fit_weights
from model.presence import object_logit
from model.sam.sam2 import ABSENT_LOGIT
from model.sam.segmenter import POINT_POSITIVE, DecodedMasks
from model.sam.video_predictor import FramePrediction
from model.sam.video_wiring import STREAMING, VideoWiring

MARGIN = 10
"""Pixels by which an object's box grows before it prompts the next frame."""


class PerSamVideo:
    """A running video of N objects."""

    def __init__(self, model: PerSamImages, support: Support | None, prompt_every: int = 0) -> None:
        """Begin before the first frame.

        Args:
            support: of N objects; None where all are given by masks.
            prompt_every: segment every so many frames as a picture; 0: only the first.

        Raises:
            ValueError: `prompt_every` is negative.
        """
        if prompt_every < 0:
            raise ValueError(f"prompt_every is 0 or more frames, not {prompt_every}")
        self.model, self.support, self.prompt_every = model, support, prompt_every
        self.index = 0
        """Number of the next frame."""
        self.boxes: list[Tensor | None] = [None] * (len(support.target.mean) if support else 0)
        """Where each object was last seen, in pixels of the frames, grown; None: nowhere yet."""
        self.labels: Tensor | None = None
        """The frame before, H x W: 0, or 1 + the object's number."""

    @torch.no_grad()
    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame; see `model.method_data.VideoState`.

        Args:
            images: 1 x 3 x S x S.
            sizes: the frame's own height and width, 1 x 2; None: S and S.
        """
        if not self.boxes and masks is None:
            raise ValueError("nothing to segment: this video was begun without a support or a mask")
        picture = self.model.encode(images, sizes=sizes)
        [frame] = self.model.frames(picture)
        parts = [self._segment(picture)] if self.boxes else []
        seen = [frame.restore(part.logits) for part in parts]
        if masks is None:
            self._follow(torch.cat(seen))
        else:
            squares = self.model.geometry.masks(masks).to(images.device)
            cells = self.model.cells(picture.expand(len(masks)), squares)
            self.take(picture, masks.to(images.device), cells, seen)
            parts.append(FramePrediction.of_masks(squares))
        self.index += 1
        return FramePrediction.join(parts)

    @torch.no_grad()
    def take(
        self,
        frame: Pictures,
        masks: Tensor,
        cells: Tensor,
        seen: Sequence[Tensor] = (),
        training: Training = VIDEO_TRAINING,
    ) -> None:
        """Begin with objects that are given in a frame, as the release's scripts do with the first.

        Args:
            masks: at the frame's own size, N x H x W bool, none of them empty.
            cells: the places of the embedding that are each object's, N x s x s bool.
            seen: where the objects before these are, logits at the frame's own size.
            training: of PerSAM-F's weights.
        """
        frames = frame.expand(len(masks))
        new = Support(find_target(frames.sam.embedding, cells), None)
        given = torch.zeros(masks.shape, device=masks.device).masked_fill(masks > 0, torch.inf)
        self._follow(torch.cat([*seen, given]), len(masks))
        if self.model.training_plan is not None:
            boxes = torch.stack(self.boxes[-len(masks) :])
            decoder = self._decoder(frames, new, boxes)
            small = decoder.frames[0].within_square().size
            own = F.interpolate(masks[:, None].float(), small, mode="nearest-exact")[:, 0]
            new = Support(new.target, fit_weights(decoder, own, training, self._prompt(boxes)))
        self.support = Support.join([self.support, new]) if self.support else new

    def _segment(self, picture: Pictures) -> FramePrediction:
        """Find, or follow, all objects that are known."""
        side = (len(self.boxes), self.model.image_size, self.model.image_size)
        logits = torch.full(side, ABSENT_LOGIT, device=picture.sam.embedding.device)
        quality, presence = torch.zeros(2, len(logits), device=logits.device)
        anew, followed = self._plan()
        for rows, predict in ((anew, self.model.predict), (followed, self._propagate)):
            if rows:
                found = predict(picture.expand(len(rows)), self.support[rows])
                logits[rows] = found.logits
                quality[rows], presence[rows] = found.quality, found.presence
        drawn = (logits > 0).flatten(1).any(1)
        return FramePrediction(
            logits=logits,
            quality=quality,
            object_logit=object_logit(presence, drawn),
            raw_logits=logits,
        )

    def _plan(self) -> tuple[list[int], list[int]]:
        """Numbers of the objects to find as in a picture, and of those to follow."""
        everything = list(range(len(self.boxes)))
        if self.index == 0 or (self.prompt_every and self.index % self.prompt_every == 0):
            return everything, []
        followed = [n for n in everything if self.boxes[n] is not None]
        if self.model.rules.released_hand_over:
            return [], followed
        return [n for n in everything if n not in followed], followed

    def _propagate(self, pictures: Pictures, support: Support) -> Prediction:
        """Segment objects by their boxes: the largest or the weighted proposal, refined twice."""
        boxes = torch.stack([box for box in self.boxes if box is not None])
        decoder = self._decoder(pictures, support, boxes)
        decoded = decoder.decode(self._prompt(boxes))
        if support.weights is not None:
            found = decoder.refine(decoder.weighted(decoded, support.weights), times=2)
        else:
            first = self._first(decoder, decoded)
            second = decoder.best(decoder.decode(masks=first.low)).or_else(first)
            found = decoder.refine(second)
        return self.model.prediction(pictures, support, found)

    def _first(self, decoder: Decoder, decoded: DecodedMasks) -> Found:
        """PerSAM's first mask: of the proposals the largest."""
        if not self.model.rules.video_largest:
            return decoder.best(decoded)
        areas = torch.stack(
            [
                (frame.restore(low) > 0).sum((1, 2))
                for low, frame in zip(decoded.logits[:, 1:], decoder.frames, strict=True)
            ]
        )
        if self.model.rules.released_areas:
            areas = areas % 256
        first = torch.arange(3, 0, -1, device=areas.device)  # the first of equal ones
        return decoder.chosen(decoded, (4 * areas + first).argmax(1))

    def _decoder(self, pictures: Pictures, support: Support, boxes: Tensor) -> Decoder:
        """A decoder with the best places, and the centres of boxes, for points."""
        rules, frames = self.model.rules, self.model.frames(pictures)
        cosines = cosine_map(pictures.sam.embedding, support.target.mixed)
        count = 1 if self.model.training_plan is not None else rules.video_points
        points = []
        for one, frame, box in zip(cosines, frames, boxes, strict=True):
            cell = frame.size[1] / frame.content[1] * frame.side / len(one)
            places = highest_places(locate(one, frame), count, cell if rules.points_apart else 0)
            centre = (box[:2] + box[2:]) // 2
            points.append(torch.cat([places, centre[None]]) if rules.video_center else places)
        labels = [POINT_POSITIVE] * len(points[0])
        return Decoder(self.model.segmenter, pictures.sam, frames, torch.stack(points), labels)

    def _prompt(self, boxes: Tensor) -> Tensor | None:
        return boxes if self.model.rules.video_box else None

    def _follow(self, values: Tensor, new: int = 0) -> None:
        """Remember where each object is, by logits at the frames' size, N x H x W.

        Args:
            new: so many of them, the last ones, begin on this frame.
        """
        labels = merge(values)
        self.boxes = self.boxes + [None] * new
        if self.model.rules.released_hand_over and self.labels is not None:
            # a number that was not seen is not written
            for number in range(1, len(values) - new + 1):
                if not (self.labels == number).any():
                    labels[labels == number] = 0
        self.labels = labels
        limits = self.labels.new_tensor([values.shape[2], values.shape[1]])
        seen: list[Tensor | None] = []
        for number in range(len(values)):
            box = mask_box(self.labels == number + 1)
            if box is not None:
                upper_left, lower_right = (box[:2] - MARGIN).clamp_min(0), box[2:] + MARGIN
                box = torch.cat([upper_left, lower_right.minimum(limits)])
            seen.append(box)
        if self.model.rules.released_hand_over:
            listed = [box for box in seen if box is not None]
            self.boxes = listed + [None] * (len(seen) - len(listed))
        else:
            self.boxes = [
                old if new is None else new for old, new in zip(self.boxes, seen, strict=True)
            ]


class PerSam(PerSamImages):
    """PerSAM or PerSAM-F, with its own way through videos."""

    @property
    def has_memory(self) -> bool:
        return True

    @property
    def takes_given_masks(self) -> bool:
        return True

    def video(
        self,
        supports: Sequence[Support],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> PerSamVideo:
        """Begin a video; SAM 2 has no part in it, so that `length` and `wiring` change nothing.

        Raises:
            ValueError: see `PerSamVideo`.
        """
        return PerSamVideo(self, Support.join(supports) if supports else None, prompt_every)


def merge(values: Tensor) -> Tensor:
    """Labels of several objects: 1 + the number of the highest logit above 0, else 0.

    Of equal ones the smallest number.

    Args:
        values: logits or masks, N x H x W.
    """
    labels = torch.zeros(values.shape[1:], dtype=torch.int64, device=values.device)
    highest = torch.zeros(values.shape[1:], device=values.device)
    for number, one in enumerate(values.float(), start=1):
        labels[one > highest] = number
        highest = highest.maximum(one)
    return labels
