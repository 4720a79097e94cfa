"""Pre-train the tiny backbone on generated scenes to name shape and texture at every place.

    python -m tools.pretrain.backbone --output segment-anything/tiny_backbone.safetensors

Scenes come in partners that share a class. The objective, on unit-length stage-4 features: name the
families of the object at every place; name those of the shared class from stage-3 features that
are masked by it, as for the prior mask, at its places and on average; and find the shared class in
the partner by the highest cosine with those masked features. The heads are thrown away.
"""

import argparse

from common.cli import answer_early, run_script
from tools.pretrain.flags import pretraining_parser


def parse_options() -> argparse.Namespace:
    parser = pretraining_parser(__doc__, steps=6000, lr=2e-3)
    parser.add_argument(
        "--fixed_norm",
        action="store_true",
        help="keep BatchNorm's statistics, as the frozen backbone does: masked and whole scenes "
        "have different ones, which training mode would hide",
    )
    parser.add_argument(
        "--batch_size", type=int, default=24, help="scenes in a step (default: %(default)s)"
    )
    return parser.parse_args()


answer_early(__name__, parse_options)

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.synthetic.shapes import SHAPES, TEXTURES
from model.backbones.resnet import SIZES, ResNet
from model.weights import read_weights
from tools.pretrain.loop import loader, train
from tools.pretrain.scenes import ObjectBatches, Objects

STRIDE = 8


SHARPNESS = 12.0
"""Logits are this times the projection of a unit feature."""


class Heads(nn.Module):
    """Linear heads on unit-length features; class 0 is the background."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shape = nn.Linear(channels, len(SHAPES) + 1)
        self.texture = nn.Linear(channels, len(TEXTURES) + 1)
        self.steepness = nn.Parameter(torch.tensor(10.0))
        self.threshold = nn.Parameter(torch.tensor(0.6))

    def loss(self, features: Tensor, shapes: Tensor, textures: Tensor) -> Tensor:
        """Mean cross-entropy. features: M x channels; targets: M, -1 is left out."""
        unit = SHARPNESS * F.normalize(features.float(), dim=1)
        return F.cross_entropy(self.shape(unit), shapes, ignore_index=-1) + F.cross_entropy(
            self.texture(unit), textures, ignore_index=-1
        )

    def matching(self, seen: Tensor, alone: Tensor, shared: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of finding the shared class in the partner by its prior mask.

        Its places, those of other objects and the background weigh the same.

        Args:
            seen: stage 4 of the whole scenes, B x C x S x S.
            alone: stage 4 of the shared class alone.
            shared, labels: where it is, and all objects, B x S x S.
        """
        partner = torch.arange(len(seen)).view(-1, 2).flip(1).flatten()
        keys = F.normalize(alone[partner].float().flatten(2), dim=1)
        queries = F.normalize(seen.float().flatten(2), dim=1)
        similarity = torch.einsum("bck,bcq->bkq", keys, queries)
        inside = shared[partner].flatten(1).unsqueeze(2)
        prior = similarity.masked_fill(~inside, 0).amax(1)  # B S*S
        logit = self.steepness * (prior - self.threshold)
        truth, labels = shared.flatten(1), labels.flatten(1)
        loss = F.binary_cross_entropy_with_logits(logit, truth.float(), reduction="none")
        usable = shared[partner].flatten(1).any(1, keepdim=True) & (labels >= 0)
        kinds = (truth, (labels > 0) & ~truth, labels == 0)
        return sum(
            (loss * (kind & usable)).sum() / (kind & usable).sum().clamp_min(1) for kind in kinds
        )

    @torch.no_grad()
    def accuracy(self, features: Tensor, shapes: Tensor, textures: Tensor) -> dict[str, Tensor]:
        """Shares of places with an object whose shape and texture are named correctly."""
        unit = SHARPNESS * F.normalize(features.float(), dim=1)
        objects = shapes > 0
        return {
            "shape": (self.shape(unit).argmax(1) == shapes)[objects].float().mean(),
            "texture": (self.texture(unit).argmax(1) == textures)[objects].float().mean(),
        }


def places(batch: Objects) -> tuple[Tensor, Tensor, Tensor]:
    """Object label, shape class and texture class at every place of the map, B x S x S."""
    labels = batch.labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    flat = labels.flatten(1)

    def classes(families: Tensor) -> Tensor:
        table = F.pad(families + 1, (1, 0))  # class 0 for label 0
        found = table.gather(1, flat.clamp_min(0))
        return torch.where(flat < 0, -1, found).view_as(labels)

    return labels, classes(batch.shapes), classes(batch.textures)


def flatten(features: Tensor) -> Tensor:
    """B x C x S x S to B*S*S x C."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def losses(network: ResNet, heads: Heads, batch: Objects) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one batch, and which share of objects' places is named correctly."""
    labels, shapes, textures = places(batch)
    _, stage3 = network.middle(batch.images)
    seen = network.high(stage3)
    everywhere = heads.loss(flatten(seen), shapes.flatten(), textures.flatten())

    is_target = F.pad(batch.targets, (1, 0)).gather(1, labels.clamp_min(0).flatten(1))
    shared = is_target.view_as(labels) & (labels > 0)  # B S S
    alone = network.high(stage3 * shared.unsqueeze(1))
    masked = heads.loss(
        flatten(alone),
        torch.where(shared, shapes, -1).flatten(),
        torch.where(shared, textures, -1).flatten(),
    )
    share = shared.flatten(1).float()
    pooled = torch.einsum("bcs,bs->bc", alone.flatten(2).float(), share)
    found = shared.flatten(1).any(1)
    shape_of, texture_of = (
        torch.where(shared, c, 0).flatten(1).amax(1) for c in (shapes, textures)
    )
    average = heads.loss(
        pooled, torch.where(found, shape_of, -1), torch.where(found, texture_of, -1)
    )
    loss = everywhere + 0.5 * masked + 0.5 * average + heads.matching(seen, alone, shared, labels)
    return loss, heads.accuracy(flatten(seen), shapes.flatten(), textures.flatten())


def main() -> int:
    options = parse_options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    network = ResNet(SIZES["tiny"])
    if options.start:
        network.load_state_dict({k: v.float() for k, v in read_weights(options.start).items()})
    heads = Heads(SIZES["tiny"].planes[-1] * 4)
    network.train(not options.fixed_norm)
    train(
        nn.ModuleList([network, heads]),
        network,
        loader(ObjectBatches(options.seed, options.steps, options.batch_size), options.workers),
        lambda batch, _: losses(network, heads, batch),
        options,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
