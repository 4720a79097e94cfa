"""The interface of a method of in-context segmentation; rooms above know methods by it alone.

The way of the data: images -> `encode` (each once) -> `encode_support` (each concept once) ->
`predict` (any number of queries) -> masks.
Shapes: B batch, K shots, H and W the side of the images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UsageError
from common.geometry import Geometry
from common.images import Size
from model.backbones.backbone import Backbone
from model.feature_store import FeatureStore
from model.instances import MOST, Instances, separate_objects
from model.method_data import Features, LabelledEpisodes, Prediction, Support, VideoState
from model.method_options import LossOptions
from model.presence import PresenceScale
from model.sam.segmenter import Segmenter
from model.sam.video_wiring import STREAMING, VideoWiring


class Method(nn.Module):
    """A method; what it cannot do is a property that says so."""

    name: str
    """Its name in `model.registry`."""
    image_size: int
    """H = W: the side of the square that it takes."""
    prompt_kinds: tuple[str, ...] = ("mask",)
    """What may mark an object in a reference, of `common.kinds.KINDS`."""
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
        self.store: FeatureStore | None = None
        """Where `features` looks first; None: nowhere."""

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

    @staticmethod
    def refuse_empty(masks: Tensor) -> None:
        """Check what marks the objects of references, B x K x H x W.

        Raises:
            ValueError: a mask is empty. A graph that is exported cannot refuse: who runs it checks.
        """
        if not torch.compiler.is_exporting() and (masks.flatten(2).amax(2) == 0).any():
            raise ValueError("empty support mask: the reference shows no object")

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

    def features(
        self, images: Tensor, support_only: bool = False, sizes: Tensor | None = None
    ) -> Features:
        """`encode`, or what was stored of the same images, with all that queries need."""
        if self.store is None:
            return self.encode(images, support_only, sizes)
        return self.store.encode(self, images, sizes)

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
