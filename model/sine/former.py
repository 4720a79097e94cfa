"""M-Former: tokens of references and learned queries ask one target three questions.

Where is this very object (identity), which objects are there (instance), of which class is each
(semantic)? Source: SINE (arXiv 2410.04842), by the numbers of its released program.
Shapes: B targets, T identity tokens, Q queries, M classes, N = T + Q, C channels, s tokens per side
of the target, W = 4 s.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import sine_position
from model.sine.config import PUBLISHED_SIZE, FormerSize
from model.sine.layers import Attention, FeedForward, MaskFeatures, MaskTokens

SPREAD = 10.0
"""Deviation, in tokens, of the Gaussian around the place that resembles an object most."""
LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class Answer:
    """What the heads read off the tokens, before the first layer or after some layer."""

    identity_logits: Tensor
    """B x T x 2: the object is there, or not."""
    instance_logits: Tensor
    """B x Q x (M + 1): of which class; the last: of none."""
    identity_masks: Tensor
    """Logits, B x T x W x W."""
    instance_masks: Tensor
    """Logits, B x Q x W x W."""
    tokens: Tensor
    """Identity, instance and semantic tokens, B x (T + Q + M + 1) x C."""

    @property
    def presence(self) -> Tensor:
        """Probability that an identity's object is there, B x T."""
        return self.identity_logits.float().softmax(2)[..., 0]

    @property
    def probabilities(self) -> Tensor:
        """Of classes, B x Q x M."""
        return self.instance_logits.float().softmax(2)[..., :-1]


@dataclass(frozen=True)
class Fused:
    """References and a target that have seen each other."""

    tokens: Tensor
    """Identity and class tokens, B x (T + M) x C."""
    image: Tensor
    """B x s*s x C."""


class Fusion(nn.Module):
    """The block that references and target pass alike, norms after the steps."""

    def __init__(self, size: FormerSize) -> None:
        super().__init__()
        self.self_attention = Attention(size.channels, size.heads)
        self.self_norm = nn.LayerNorm(size.channels)
        self.cross_attention = Attention(size.channels, size.heads)
        self.cross_norm = nn.LayerNorm(size.channels)
        self.feed_forward = FeedForward(size.channels, size.hidden)
        self.feed_norm = nn.LayerNorm(size.channels)

    def forward(
        self,
        tokens: Tensor,
        others: Tensor,
        unseen: Tensor | None = None,
        unseen_others: Tensor | None = None,
    ) -> Tensor:
        """Tokens, B x N x C, that have seen others, B x M x C.

        Args:
            unseen, unseen_others: which tokens and which others fill a batch up, B x 1 x N and
                B x 1 x M bool: none sees them.
        """
        attended = self.self_attention(tokens, tokens, tokens, unseen)
        tokens = self.self_norm(tokens + attended)
        attended = self.cross_attention(tokens, others, others, unseen_others)
        tokens = self.cross_norm(tokens + attended)
        return self.feed_norm(tokens + self.feed_forward(tokens))


class FormerLayer(nn.Module):
    """One of the six layers, norms before the steps."""

    def __init__(self, size: FormerSize) -> None:
        super().__init__()
        self.self_attention = Attention(size.channels, size.heads)
        self.self_norm = nn.LayerNorm(size.channels)
        self.cross_attention = Attention(size.channels, size.heads)
        self.cross_norm = nn.LayerNorm(size.channels)
        self.object_forward = FeedForward(size.channels, size.hidden)
        self.object_norm = nn.LayerNorm(size.channels)
        self.class_forward = FeedForward(size.channels, size.hidden)
        self.class_norm = nn.LayerNorm(size.channels)

    def forward(
        self,
        tokens: Tensor,
        codes: Tensor,
        apart: Tensor,
        image: Tensor,
        image_codes: Tensor,
        blocked: Tensor,
    ) -> Tensor:
        """Tokens, B x (N + M + 1) x C, one layer later.

        Args:
            codes: of their positions, of the same shape.
            apart: which tokens do not see which, bool, of all targets or of each.
            image: B x s*s x C.
            image_codes: of its positions, s*s x C.
            blocked: where in the image identity and instance tokens do not look, B x N x s*s bool.
        """
        normed = self.self_norm(tokens)
        placed = normed + codes
        tokens = tokens + self.self_attention(placed, placed, normed, apart)
        count = blocked.shape[1]
        objects, classes = tokens[:, :count], tokens[:, count:]
        placed = self.cross_norm(objects) + codes[:, :count]
        objects = objects + self.cross_attention(placed, image + image_codes, image, blocked)
        objects = objects + self.object_forward(self.object_norm(objects))
        classes = classes + self.class_forward(self.class_norm(classes))
        return torch.cat([objects, classes], dim=1)


class MFormer(nn.Module):
    """The fusion, the layers and the heads."""

    def __init__(
        self, queries: int, size: FormerSize = PUBLISHED_SIZE, refresh_attention: bool = False
    ) -> None:
        """Begin with weights as a training does.

        Args:
            queries: Q.
            refresh_attention: block places by the masks of the layer before; False: all layers by
                the first masks, as the published weights know it.
        """
        super().__init__()
        self.queries, self.size, self.refresh_attention = queries, size, refresh_attention
        channels = size.channels
        self.temperature = nn.Parameter(torch.tensor(30.0))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.fusion = Fusion(size)
        self.layers = nn.ModuleList(FormerLayer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(channels)
        self.mask_features = MaskFeatures(channels)
        self.query_content = nn.Embedding(queries, channels)
        self.query_code = nn.Embedding(queries, channels)
        self.kinds = nn.Embedding(3, channels)
        """Added to identity, instance and semantic tokens."""
        self.no_class = nn.Embedding(1, channels)
        self.identity_head = nn.Linear(channels, 2)
        self.mask_tokens = MaskTokens(channels)

    def forward(
        self,
        target: Tensor,
        identities: Tensor,
        classes: Tensor,
        every_layer: bool = False,
        filling: Tensor | None = None,
    ) -> list[Answer]:
        """Ask targets of all references at once.

        Args:
            target: the neck's output, B x C x s x s.
            identities: tokens of objects, B x T x C; T may be 0.
            classes: tokens of classes, B x M x C.
            every_layer: answer before the first layer and after each; False: only after the last.
            filling: which of both tokens are none, but fill up rows of a batch whose numbers
                differ, B x (T + M) bool; what is answered for them means nothing. None: no one.

        Returns:
            One or 1 + layers answers; the last is the result.
        """
        side, count = target.shape[-1], identities.shape[1]
        features = self.mask_features(target)
        fused = self.fuse(target, torch.cat([identities, classes], dim=1), filling)
        image_codes = sine_position(self.size.channels, side, target.device)
        found, classes = fused.tokens[:, :count], fused.tokens[:, count:]
        places = self.locate(self.correlate(found, fused.image), side) @ image_codes
        tokens = self.begin(found, classes)
        codes = torch.zeros_like(tokens)
        codes[:, :count] = places
        codes[:, count : count + self.queries] = self.query_code.weight
        apart = self._apart(count, tokens, filling)
        answers = [self.answer(tokens, features, count)]
        blocked = self.blocked(answers[0], side)
        for number, layer in enumerate(self.layers, start=1):
            tokens = layer(tokens, codes, apart, fused.image, image_codes, blocked)
            last = number == len(self.layers)
            if every_layer or last or self.refresh_attention:
                answers.append(self.answer(tokens, features, count))
                if self.refresh_attention and not last:
                    blocked = self.blocked(answers[-1], side)
        return answers if every_layer else answers[-1:]

    def fuse(self, target: Tensor, tokens: Tensor, filling: Tensor | None = None) -> Fused:
        """Let references, B x (T + M) x C, and targets, B x C x s x s, see each other."""
        image = target.flatten(2).transpose(1, 2)
        unseen = None if filling is None else filling[:, None]
        return Fused(
            self.fusion(tokens, image, unseen=unseen) + tokens,
            self.fusion(image, tokens, unseen_others=unseen) + image,
        )

    def correlate(self, identities: Tensor, image: Tensor) -> Tensor:
        """Cosines of identity tokens with all places of the target, B x T x s*s."""
        return _cosines(identities, image)

    def locate(self, correlation: Tensor, side: int) -> Tensor:
        """Weights of the places around the best one of each identity, B x T x s*s."""
        return (self.temperature * near_peak(correlation, side)).softmax(dim=2)

    def begin(self, identities: Tensor, classes: Tensor) -> Tensor:
        """The tokens before the first layer, B x (T + Q + M + 1) x C."""
        batch = len(classes)
        kinds = self.kinds.weight
        queries = (self.query_content.weight + kinds[1]).expand(batch, -1, -1)
        none = self.no_class.weight.expand(batch, -1, -1)
        return torch.cat(
            [identities + kinds[0], queries, torch.cat([classes, none], dim=1) + kinds[2]], dim=1
        )

    def answer(self, tokens: Tensor, features: Tensor, identities: int) -> Answer:
        """Read the heads.

        Args:
            tokens: B x (T + Q + M + 1) x C.
            features: for masks, B x C x W x W.
            identities: T.
        """
        normed = self.norm(tokens)
        found, instances, classes = normed.split(
            [identities, self.queries, normed.shape[1] - identities - self.queries], dim=1
        )
        cosines = _cosines(instances, classes)
        mask_tokens = self.mask_tokens(normed[:, : identities + self.queries])
        masks = torch.einsum("bnc,bchw->bnhw", mask_tokens, features)
        return Answer(
            self.identity_head(found),
            cosines * self.logit_scale.exp().clamp(max=LARGEST_SCALE),
            masks[:, :identities],
            masks[:, identities:],
            tokens,
        )

    def blocked(self, answer: Answer, side: int) -> Tensor:
        """Where tokens do not look: outside of their masks, B x N x s*s bool; a token whose mask is
        empty looks everywhere."""
        with torch.no_grad():
            outside = self.outside(answer, side)
            return outside & ~outside.all(dim=2, keepdim=True)

    @staticmethod
    def outside(answer: Answer, side: int) -> Tensor:
        """What lies outside of the masks, B x N x s*s bool."""
        masks = torch.cat([answer.identity_masks, answer.instance_masks], dim=1)
        small = F.interpolate(masks, (side, side), mode="bilinear", align_corners=False)
        return small.flatten(2).sigmoid() < 0.5

    def _apart(self, identities: int, tokens: Tensor, filling: Tensor | None) -> Tensor:
        """Identity tokens see each other, and so do instance and semantic tokens; none sees what
        fills a batch up. (T + Q + M + 1) x (T + Q + M + 1) bool, of each target where any does."""
        known = torch.arange(tokens.shape[1], device=tokens.device) < identities
        apart = known[:, None] != known[None]
        if filling is None:
            return apart
        objects, classes = filling[:, :identities], filling[:, identities:]
        unseen = F.pad(torch.cat([F.pad(objects, (0, self.queries)), classes], dim=1), (0, 1))
        return apart | unseen[:, None]


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """Of B x N x C with B x M x C: B x N x M, float32, as they are multiplied by large numbers."""
    with torch.autocast(first.device.type, enabled=False):
        units = F.normalize(first.float(), dim=2), F.normalize(second.float(), dim=2)
        return units[0] @ units[1].transpose(1, 2)


def near_peak(correlation: Tensor, side: int) -> Tensor:
    """Correlations, B x T x s*s, that fade with the distance from their highest place."""
    place = torch.arange(side * side, device=correlation.device)
    rows, columns = place.div(side, rounding_mode="floor"), place % side
    peak = correlation.argmax(dim=2, keepdim=True)
    down = rows - peak.div(side, rounding_mode="floor")
    right = columns - peak % side
    near = torch.exp(-(down**2 + right**2) / (2 * SPREAD**2))
    return correlation * near
