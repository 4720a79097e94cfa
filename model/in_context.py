"""Label one picture, get the rest: DC-SAM as another program uses it.

    segmenter = InContextSegmenter.from_checkpoint("last.safetensors")
    concept = segmenter.learn(image, mask)
    mask, score = segmenter.segment(photo, concept)

Pictures are Pillow images or arrays, as `common.pixels.rgb_pixels` takes them; masks come back as
arrays of the picture's own size, upright as its EXIF data say.
Shapes: B pictures, C concepts, K shots, S the network's image size, H and W a picture's own size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.distributed import choose_device
from common.errors import UsageError
from common.pixels import normalize, rgb_pixels, squash, squash_mask
from common.trainer import PRECISIONS, autocast
from model.checkpoint import load_model
from model.dc_sam import Concept, DcSam
from model.presence import PresenceScale

STRIP = 2**24
"""Logits enlarged at a time, so that huge pictures need little memory."""

Picture = Image.Image | np.ndarray
Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class LearnedConcept:
    """What one or several reference pictures and masks taught; good for any number of pictures."""

    name: str
    """What the concept is called."""
    pictures: np.ndarray
    """The references at the network's size, K x S x S x 3 uint8 RGB."""
    masks: np.ndarray
    """K x S x S uint8, 0 or 1."""
    support: Concept
    """Their features and prompts."""

    def save(self, path: Path | str) -> None:
        """Write a small file that `InContextSegmenter.load` reads, also with another checkpoint.

        It holds the reference pictures at the network's size, not their features, which would be
        many times larger.

        Raises:
            UsageError: the file cannot be written.
        """
        tensors = {
            "pictures": torch.from_numpy(self.pictures),
            "masks": torch.from_numpy(self.masks),
        }
        save_checkpoint(Path(path), tensors, {"concept": self.name})


class FoundMask(NamedTuple):
    """One concept in one picture."""

    mask: np.ndarray
    """H x W bool."""
    score: float
    """How likely it is that the concept is in the picture, in [0, 1]; see `model.presence`."""


class FoundClasses(NamedTuple):
    """Several concepts in one picture; each pixel belongs to at most one."""

    labels: np.ndarray
    """H x W uint8: 0 where there is none, else 1 + the position of the concept."""
    scores: tuple[float, ...]
    """The presence of each concept, also of those below the threshold."""


class InContextSegmenter:
    """Segments in any picture what reference pictures showed. Threads may share one."""

    def __init__(
        self,
        model: DcSam,
        image_size: int,
        precision: str = "fp32",
        presence: PresenceScale | None = None,
    ) -> None:
        """Use a model that is in evaluation mode and on its device.

        Args:
            image_size: S, the side to which pictures are squashed.
            precision: of the forward pass: fp32, bf16 or fp16.
            presence: calibration of the scores (default: that of a tiny model).

        Raises:
            ValueError: there is no such precision.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision}")
        self.model, self.image_size, self.precision = model, image_size, precision
        self.device = next(model.parameters()).device
        self.presence = presence or PresenceScale()

    @classmethod
    def from_checkpoint(
        cls, path: Path | str, device: str | torch.device = "auto", precision: str = "fp32"
    ) -> "InContextSegmenter":
        """Build the model of a checkpoint file.

        Args:
            device: auto, cpu, cuda or mps; or a particular one.

        Raises:
            UsageError: the file is missing, broken or no model, or there is no such device.
            ValueError: there is no such precision.
        """
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
            where = choose_device(device) if isinstance(device, str) else device
            model, facts = load_model(Path(path), where)
        scale = PresenceScale.from_json(facts["presence"]) if "presence" in facts else None
        return cls(model, facts["model"]["image_size"], precision, scale)

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
            ValueError: images and masks do not match, or a mask is empty or has other values.
        """
        images = [images] if isinstance(images, Picture) else list(images)
        masks = [masks] if isinstance(masks, Picture) else list(masks)
        if not images or len(images) != len(masks):
            raise ValueError(f"{len(images)} reference images but {len(masks)} masks")
        pixels = [rgb_pixels(image) for image in images]
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
        facts = read_facts(Path(path))
        if "concept" not in facts:
            raise UsageError(f"{path} is no concept: it was not written by LearnedConcept.save")
        tensors = read_weights(Path(path))
        return self._learn(
            list(tensors["pictures"].numpy()), list(tensors["masks"].numpy()), facts["concept"]
        )

    def segment(
        self, picture: Picture, concept: LearnedConcept, threshold: float = 0.0
    ) -> FoundMask:
        """Find the concept in one picture.

        Args:
            threshold: with a presence score below it the mask is empty.
        """
        return self.segment_batch([picture], concept, threshold)[0]

    def segment_batch(
        self, pictures: Sequence[Picture], concept: LearnedConcept, threshold: float = 0.0
    ) -> list[FoundMask]:
        """Find the concept in several pictures at once; they may have different sizes."""
        found = self.segment_classes(pictures, [concept], threshold)
        return [FoundMask(one.labels == 1, one.scores[0]) for one in found]

    @torch.no_grad()
    def segment_classes(
        self,
        pictures: Sequence[Picture],
        concepts: Sequence[LearnedConcept],
        threshold: float = 0.0,
        sizes: Sequence[Size] | None = None,
    ) -> list[FoundClasses]:
        """Let several concepts compete for every pixel of each picture: the highest logit wins.

        Args:
            concepts: 1 to 255.
            threshold: concepts with a presence score below it do not compete.
            sizes: of the results, where the pictures were made smaller before (default: the
                pictures' own).

        Raises:
            ValueError: no concept, or too many.
        """
        if not 0 < len(concepts) < 256:
            raise ValueError(f"between 1 and 255 concepts can compete, not {len(concepts)}")
        if not pictures:
            return []
        pixels = [rgb_pixels(picture) for picture in pictures]
        sizes = sizes or [picture.shape[:2] for picture in pixels]
        logits, scores = self.look(pixels, concepts)
        results = []
        for one, presences, size in zip(logits.unbind(1), scores.T.tolist(), sizes, strict=True):
            present = [c for c, score in enumerate(presences) if score >= threshold]
            results.append(FoundClasses(compete(one, present, size), tuple(presences)))
        return results

    @torch.no_grad()
    def look(
        self, pictures: Sequence[Picture], concepts: Sequence[LearnedConcept]
    ) -> tuple[Tensor, Tensor]:
        """What the network says before any threshold; each picture is encoded once.

        Returns:
            Logits C x B x S x S, for `compete`, and presence scores C x B.
        """
        pixels = [rgb_pixels(picture) for picture in pictures]
        batch = torch.stack([normalize(squash(image, self.image_size)) for image in pixels])
        with autocast(self.device, self.precision):
            images = self.model.encode(batch.to(self.device))
            supports = [concept.support.expand(len(pixels)) for concept in concepts]
            found = [self.model.find(images, support) for support in supports]
        scores = [
            self.presence(prediction, images, support)
            for prediction, support in zip(found, supports, strict=True)
        ]
        return torch.stack([prediction.logits for prediction in found]), torch.stack(scores)

    @torch.no_grad()
    def _learn(
        self, pixels: list[np.ndarray], masks: list[np.ndarray], name: str
    ) -> LearnedConcept:
        side = self.image_size
        pictures = np.stack([squash(image, side) for image in pixels])
        small = torch.stack([squash_mask(mask, side, keep_small=True) for mask in masks])
        batch = torch.stack([normalize(picture) for picture in pictures])
        with autocast(self.device, self.precision):
            support = self.model.learn(batch[None].to(self.device), small[None].to(self.device))
        return LearnedConcept(name, pictures, small.byte().numpy(), support)


def _binary(mask: Picture) -> np.ndarray:
    """A mask of 0 and one other value as H x W bool; of a palette image the indices count."""
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


def compete(logits: Tensor, present: Sequence[int], size: Size, least: float = 0.0) -> np.ndarray:
    """Who has each pixel: 0 or 1 + the position of one of the present concepts, H x W uint8.

    Args:
        logits: C x S x S.
        least: pixels whose highest logit is not above it are background.
    """
    labels = np.zeros(size, dtype=np.uint8)
    if not present:
        return labels
    number = torch.tensor([1 + c for c in present], dtype=torch.uint8, device=logits.device)
    for top, strip in enlarge(logits[list(present)], size):
        highest, winner = strip.max(dim=0)
        claimed = number[winner] * (highest > least)
        labels[top : top + strip.shape[1]] = claimed.cpu().numpy()
    return labels


def enlarge(logits: Tensor, size: Size, strip: int = STRIP) -> Iterator[tuple[int, Tensor]]:
    """Resize C x S x S logits to C x H x W, bilinear with align_corners=False, in strips of rows.

    Args:
        strip: how many values may be made at a time.

    Yields:
        The first row of each strip, and the strip.
    """
    (height, width), side = size, logits.shape[1]
    rows = max(1, strip // (logits.shape[0] * width))
    if rows >= height:
        yield 0, F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
        return
    place = (torch.arange(height, device=logits.device) + 0.5) * side / height - 0.5
    place = place.clamp(0, side - 1)
    above = place.long()
    below = (above + 1).clamp_max(side - 1)
    share = (place - above).view(-1, 1)
    for top in range(0, height, rows):
        some = slice(top, top + rows)
        mixed = torch.lerp(logits[:, above[some]], logits[:, below[some]], share[some])
        wide = (mixed.shape[1], width)
        yield top, F.interpolate(mixed[None], wide, mode="bilinear", align_corners=False)[0]
