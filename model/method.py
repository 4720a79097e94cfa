"""The interface of a method of in-context segmentation; rooms above know methods by it alone.

The way of the data: images -> `encode` (each once) -> `encode_support` (each concept once) ->
`predict` (any number of queries) -> masks.
Shapes: B batch, K shots, H and W the side of the images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor, nn

from common.cli import option, to_json
from common.errors import UsageError
from common.geometry import Geometry, Size
from model.backbones.backbone import Backbone
from model.instances import MOST, Instances, separate_objects
from model.losses import LOSSES
from model.presence import PresenceScale
from model.sam.segmenter import Segmenter
from model.sam.video_predictor import STREAMING, FramePrediction, VideoWiring
from model.weights import weights_folder


class Features(Protocol):
    """Images after the frozen networks."""

    def __getitem__(self, rows: slice) -> Self:
        """The features of some of the images."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One batch of several."""


class Support(Protocol):
    """What the labelled pictures of B concepts say; it serves any number of queries."""

    def expand(self, batch: int) -> Self:
        """One concept (B = 1) for each of so many queries, without copies."""


class LabelledEpisodes(Protocol):
    """What a training loss needs to know of a batch of episodes besides encoded images."""

    support_masks: Tensor
    """B x K x H x W, exactly 0 or 1."""
    query_mask: Tensor
    """B x H x W, exactly 0 or 1."""
    support_kinds: Sequence[Sequence[str]]
    """What each support mask was drawn of, see `Method.encode_support`."""
    support_objects: Sequence[Tensor]
    """Where support masks may be other marks: the masks of each episode, K x H x W; else empty."""
    query_ignore: Tensor
    """B x H x W, bool: pixels that do not count."""


@dataclass(frozen=True)
class LossOptions:
    """What a training minimises."""

    loss: str = option(
        "paper", "losses on masks: the paper's, or the released program's Dice", LOSSES
    )
    pseudo_weight: float = option(
        0.0, "weight of a loss on the pseudo mask as well; the paper has none"
    )

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        wrong = self.pseudo_weight < 0
        return ["--pseudo_weight cannot be negative"] if wrong else []


@dataclass(frozen=True)
class MethodOptions:
    """What a method is made of: the base of the methods' own flags."""

    method: ClassVar[str]
    """The name in `model.registry`."""

    def problems(self) -> list[str]:
        """Every reason why these options cannot be used."""
        return []

    def files(self) -> tuple[str, ...]:
        """Names in `model.weights.OFFICIAL` of the official files that building it reads."""
        return ()

    def lacks(self) -> str | None:
        """Why what it builds is of no use before a training; None: public weights are enough."""
        return None

    def trained_on(self) -> dict[str, Any] | None:
        """Benchmark and fold, as a header's "data", that public weights were trained on for the
        task itself; empty: not known; None: no training on any class."""
        return None

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint's header says; of files it says their names."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        names = {name: value.name for name, value in values if isinstance(value, Path)}
        return to_json(replace(self, **names))

    @classmethod
    def from_json(cls, stored: Any, source: object) -> Self:
        """From a header; files are looked up in the folder of weights.

        Raises:
            UsageError: there are options which this program does not know.
        """
        hints = {field.name: field.type for field in fields(cls)}
        if not isinstance(stored, dict) or not stored.keys() <= hints.keys():
            raise UsageError(f"{source} does not describe a model that this version can build")
        files = {
            name: weights_folder() / Path(stored[name]).name
            for name, hint in hints.items()
            if hint == Path | None and stored.get(name)
        }
        return cls(**{**stored, **files})


@dataclass(frozen=True)
class Prediction:
    """A mask for each query image."""

    logits: Tensor
    """B x H x W, float32; above 0 is the object."""
    quality: Tensor
    """B: the method's own estimate of the mask's IoU."""
    presence: Tensor
    """B, in [0, 1]: whether the image shows the object at all."""
    signals: Tensor
    """B x any number: what the presence was made of, for its calibration."""
    objects: Sequence[Tensor] | None = None
    """Of each query the separate objects, N x H x W bool; None: the method has no proposals."""


class VideoState(Protocol):
    """A running video: all that is remembered of it."""

    def step(
        self, images: Tensor, masks: Tensor | None = None, *, sizes: Tensor | None = None
    ) -> FramePrediction:
        """Segment the next frame, 1 x 3 x S x S.

        What comes back has a row for each concept with which the video began, then for each object
        that was given so far, in the order in which they were given.

        Args:
            masks: of objects that begin on this frame, N x H x W bool at the frame's own size, none
                of them empty; for methods that take given masks. A video without supports needs
                some on its first frame, and more may come on any other.
            sizes: see `Method.encode`.

        Raises:
            ValueError: nothing was given yet, or masks where they are not taken.
        """


class Method(nn.Module):
    """A method; what it cannot do is a property that says so."""

    name: str
    """Its name in `model.registry`."""
    image_size: int
    """H = W: the side of the square that it takes."""
    prompt_kinds: tuple[str, ...] = ("mask",)
    """What may mark an object in a reference, of `common.geometry.KINDS`."""
    box_rule: str = "around"
    """Which box it learns of where boxes are drawn from masks: around the whole mask, or around the
    largest of its parts."""
    frozen_parts: tuple[str, ...] = ()
    """Names of the submodules whose weights come from official files and never change."""
    learns_in_turns: bool = False
    """Whether some of what learns takes no part in some batches."""
    drawn_buffers: tuple[str, ...] = ()
    """Names of buffers that were drawn at random when it was built: a checkpoint holds them beside
    what learned with them."""
    encoder_learns: bool = False
    """Whether training changes what `encode` gives, so that features cannot be kept meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.presence_scale: PresenceScale | None = None
        """The checkpoint's calibration; None: there is none."""
        self.domain: str | None = None
        """What its checkpoint was trained on, drawings or photographs; None: nothing is known."""
        self.untrained = False
        """Whether what draws masks has random weights, so that they mean nothing."""

    @property
    def geometry(self) -> Geometry:
        """How pictures come to its square, and maps back."""
        return Geometry(self.image_size)

    @property
    def scores_instances(self) -> bool:
        """Whether it finds objects and scores them itself; of other methods masks are parted."""
        return False

    @property
    def instance_geometry(self) -> Geometry:
        """`geometry` of the pictures, references among them, in which `find_instances` looks."""
        return self.geometry

    @property
    def has_memory(self) -> bool:
        """Whether `video` works: the method's own way through a video."""
        return False

    @property
    def takes_given_masks(self) -> bool:
        """Whether objects of a video can be given by masks on its own frames: `VideoState.step`."""
        return False

    @property
    def tracking_geometry(self) -> Geometry:
        """How frames come to its square in a video whose objects are given by masks."""
        return self.geometry

    @property
    def video_wiring(self) -> VideoWiring:
        """How SAM 2 propagates its masks, unless another way is asked for."""
        return STREAMING

    @property
    def image_features(self) -> Backbone | None:
        """The frozen network on whose features training-free baselines work; None: it has none."""
        return None

    @property
    def compares_places(self) -> bool:
        """Whether `place_features` works."""
        return self.image_features is not None

    @property
    def promptable(self) -> Segmenter | None:
        """The SAM that draws masks from clicks and boxes; None: it has none."""
        return None

    @property
    def knows_drawings_only(self) -> bool:
        """Whether its networks are the tiny ones of this repository."""
        return False

    @property
    def most_shots(self) -> int | None:
        """How many references of one concept it takes; None: any number."""
        return None

    def refuse_shots(self, shots: int) -> None:
        """Check before work begins.

        Raises:
            UsageError: the method does not take so many references.
        """
        if self.most_shots is not None and shots > self.most_shots:
            raise UsageError(f"this model takes {self.most_shots} reference at most, not {shots}")

    def refuse_kinds(self, kinds: Sequence[str]) -> None:
        """Check before work begins.

        Raises:
            UsageError: the method does not take such marks of an object.
        """
        if foreign := [kind for kind in kinds if kind not in self.prompt_kinds]:
            raise UsageError(f"{self.name} takes no {foreign[0]} as a reference")

    def encode(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> Features:
        """Take in normalised images, B x 3 x H x W, through the frozen networks.

        Args:
            support_only: leave out what only queries need.
            sizes: height and width of each image before it came to the square, int64 B x 2, for
                methods whose square is padded; None: the squares are the images.
        """
        raise NotImplementedError

    def place_features(self, images: Tensor) -> Tensor:
        """Features by whose cosine places of pictures correspond; B x 3 x H x W to B x C x h x w.

        They are the last of the frozen network, unless the method has others.
        """
        backbone = self.image_features
        return backbone.high(backbone.extract(images).trunk, None)

    def encode_support(
        self,
        images: Features,
        masks: Tensor,
        kinds: Sequence[Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> Support:
        """Take in labelled pictures.

        Args:
            images: B*K encoded images.
            masks: exactly 0 or 1, B x K x H x W: a mask, or where points or scribbles lie, or a
                filled box.
            kinds: which of `prompt_kinds` each of B x K is; None: all are masks.
            names: what each of B concepts is called, for methods that read text; None: not known.

        Raises:
            ValueError: a mask is empty.
        """
        raise NotImplementedError

    def predict(self, images: Features, support: Support) -> Prediction:
        """Segment B encoded query images by what the support showed."""
        raise NotImplementedError

    def predict_together(self, images: Features, supports: Sequence[Support]) -> list[Prediction]:
        """Segment the same B queries by several concepts, each for all queries.

        Methods whose concepts know of each other override this.
        """
        return [self.predict(images, support) for support in supports]

    @property
    def can_silence(self) -> bool:
        """Whether `silence` works."""
        return False

    def silence(self, support: Support) -> Support:
        """The same concepts with nothing said of them."""
        raise NotImplementedError

    def find_instances(
        self,
        images: Features,
        supports: Sequence[Support],
        sizes: Sequence[Size],
        most: int = MOST,
    ) -> list[Instances]:
        """Tell the objects of several concepts in B queries apart.

        Methods that score objects override this; of others, masks are parted.

        Args:
            images: encoded from squares of `instance_geometry`, and so are those of supports.
            supports: of each concept, for all B queries.
            sizes: height and width of each query's results: the picture's own, or smaller ones in
                its proportions.
            most: how many objects of a query are kept.

        Returns:
            For each query its objects, the best first.
        """
        predictions = self.predict_together(images, supports)
        found = []
        for row, size in enumerate(sizes):
            parts = []
            for concept, one in enumerate(predictions):
                logits = self.instance_geometry.crop(one.logits[row], size)
                proposals = None
                if one.objects is not None:
                    proposals = self.instance_geometry.crop(one.objects[row], size)
                presence = float(one.presence[row])
                parts.append(separate_objects(logits, proposals, presence, concept, size))
            found.append(Instances.join(parts).best(most))
        return found

    def video(
        self,
        supports: Sequence[Support],
        prompt_every: int = 0,
        length: int | None = None,
        wiring: VideoWiring = STREAMING,
    ) -> VideoState:
        """Begin a video in which concepts, each of one support (B = 1), are looked for.

        Args:
            supports: none where all objects are given by masks, if the method takes such.
            prompt_every: prompt again every so many frames; 0: only on the first.
            length: frames of the video, where it is known.
            wiring: how SAM 2 propagates masks.
        """
        raise NotImplementedError

    def training_loss(
        self,
        query: Features,
        support: Features,
        episodes: LabelledEpisodes,
        options: LossOptions,
    ) -> dict[str, Tensor]:
        """Named losses of a batch, each a scalar; their sum is minimised."""
        raise NotImplementedError

    def loss_terms(self, batch: Any) -> Mapping[str, float]:
        """Of how many terms the named losses of a batch are means, where batches differ in that.

        Equal for the same batch anywhere; what is not named counts 1.
        """
        return {}

    def forward(self, *batch: Any) -> dict[str, Tensor]:
        """`training_loss`: what DistributedDataParallel calls."""
        return self.training_loss(*batch)
