"""VRP-SAM's references, features, tokens and masks are those of the released program."""

import copy
import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.distributed import process_group
from common.trainer import Trainer
from common.training_options import TrainingOptions
from data.prompts import Draws, draw_mark
from model.backbones.backbone import build_backbone
from model.dc_sam.features import EncodedImages
from model.dc_sam.released_names import released_name
from model.losses import binary_cross_entropy, mask_loss
from model.method_options import LossOptions
from model.sam.sam1 import Sam, SamSize
from model.sam.segmenter import DecodedMasks, SegmenterFeatures
from model.vrp_sam.builder import build_generator
from model.vrp_sam.config import HYPER_PARAMETERS
from model.vrp_sam.network import Support, VrpSam
from model.vrp_sam.released_names import import_release
from model.weights import load_strictly
from tests.golden.fill import MASKS, fill, image
from tests.golden.golden_set import REPOSITORY_SET, GoldenSet, Weights, assert_close, part, summary
from tests.golden.method_set import assert_changes_are_seen, method_set

SMALL = SamSize(width=192, depth=4, heads=3, global_blocks=(1, 3))
TOLERANCES = {".*/(areas|reference_|seed)": 0.0, "": 1e-4}
REFERENCES = {"box": "box", "scribble": "scribble", "point": "point", "point_kept": "point"}
"""Cases of other references than masks -> their kind."""
REPEATED = r"query_layer|query_reduced|sam_embedding|support_layer[23]"
"""What no file repeats for those cases: it is that of the first sample of `mask_b2`."""
CASES = {
    "resnet50": ("mask_b2", *REFERENCES, "shots5", "mask_512"),
    "vgg16": ("mask_b2", "box", "shots5", "mask_512"),
}
CASES_LEFT_OUT = {"resnet50": ("box", "mask_512"), "vgg16": ("shots5", "mask_512")}
LEFT_OUT = {
    "resnet50": r"shots5/(query|sam|support_layer[23])|scribble/(support_layer4_s|"
    r"support_reduced|query_merged|logits_s)|point/(?!reference|prior|prototype|"
    r"tokens_after_self_attention_layers$|areas|logits_stats|iou)",
    "vgg16": r"mask_b2/sam_emb|box/logits_s",
}
"""What the repository's files leave out, so that they stay small."""


@dataclass
class Trace:
    """What the layers of a generator gave, in the order of calls."""

    reduced: list[Tensor]
    merged: list[Tensor]
    mask_channels: list[Tensor]
    tokens: dict[str, Tensor]
    stages: list[tuple[Tensor, Tensor]]
    """Of the backbone, 2 and 3."""
    prompts: list[Tensor]
    """What SAM's decoder was given."""
    decoded: list[DecodedMasks]

    @classmethod
    def of(cls, model: VrpSam) -> "Trace":
        trace, branch = cls([], [], [], {}, [], [], []), model.generator.positive
        middle, decode = model.backbone.network.middle, model.segmenter.decode_all

        def stages(images: Tensor) -> tuple[Tensor, Tensor]:
            trace.stages.append(middle(images))
            return trace.stages[-1]

        def decode_all(features: SegmenterFeatures, tokens: Tensor) -> DecodedMasks:
            trace.prompts.append(tokens)
            trace.decoded.append(decode(features, tokens))
            return trace.decoded[-1]

        model.backbone.network.middle = stages
        model.segmenter.decode_all = decode_all
        model.generator.reduce.register_forward_hook(lambda m, i, out: trace.reduced.append(out))

        def fused(module: nn.Module, inputs: tuple[Tensor], out: Tensor) -> None:
            trace.merged.append(F.relu(out))
            trace.mask_channels.append(inputs[0][:, -1:] / 10)

        branch.fuse.register_forward_hook(fused)
        layers = {
            "cross_attention_layers_0": branch.support_attention,
            "self_attention_layers_0": branch.early_norm,
            "cross_attention_layers": branch.query_attention,
            "self_attention_layers": branch.norm,
        }
        for name, layer in layers.items():
            layer.register_forward_hook(
                lambda m, i, out, name=name: trace.tokens.__setitem__(name, out)
            )
        return trace

    def begin(self) -> None:
        for values in vars(self).values():
            values.clear()


@cache
@torch.no_grad()
def small_sam(prefix: str) -> Sam:
    sam = Sam("small", SMALL).eval()
    official = sam.official.state_dict()
    filled = {name: fill(prefix + name, value.shape) for name, value in official.items()}
    load_strictly(sam.official, filled, "golden")
    return sam


@cache
@torch.no_grad()
def seen_by_sam(prefix: str, name: str, side: int) -> SegmenterFeatures:
    """A picture after the small SAM, which is the same for every backbone."""
    return small_sam(f"{prefix}/").encode(image(f"{prefix}/input/{name}", 1, side, side))


class Program:
    """The released model of a backbone on a small SAM, and its images, each encoded once."""

    def __init__(self, backbone: str) -> None:
        self.golden: GoldenSet = method_set("vrp_sam")
        self.case = self.golden.json("case.json")
        self.name = backbone
        self.model = released_model(self.golden, backbone)
        self.trace = Trace.of(self.model)
        self.encode = cache(self._encode)

    def _encode(self, name: str, side: int) -> tuple[EncodedImages, tuple[Tensor, Tensor]]:
        """The features of a picture, and its stages 2 and 3."""
        picture = image(f"{self.case['prefix_of_inputs']}{name}", 1, side, side)
        if name.startswith("support"):
            encoded = self.model.encode(picture, support_only=True)
        else:
            encoded = self.model.add_backbone(picture, seen_by_sam("vrp_sam", name, side))
        return encoded, self.trace.stages[-1]

    def masks(self, name: str, side: int) -> list[Tensor]:
        """Unions of shapes, each 1 x side x side."""
        scale = side // self.case["size"]
        return [
            torch.stack(
                [MASKS[kind](*(scale * number for number in numbers)) for kind, *numbers in shapes]
            ).amax(0, keepdim=True)
            for shapes in self.case[name]
        ]

    def run(self, case: str) -> Weights:
        """From images to masks: what the files hold of a case."""
        side = 2 * self.case["size"] if case == "mask_512" else self.case["size"]
        queries = [0, 1] if case == "mask_b2" else [0]
        shots = {"mask_b2": [[0], [1]], "shots5": [[0, 1, 2, 3, 4]], "mask_512": [[2]]}.get(
            case, [[0]]
        )
        drawn = self.masks("support_masks", side)
        marks = torch.stack([torch.cat([drawn[i] for i in row]) for row in shots])
        found = {}
        if case in REFERENCES:
            marks, found = self.draw(case, marks)
        kinds = [[REFERENCES.get(case, "mask")] * len(shots[0])] * len(shots)
        query, stages = self.joined([f"query{i}" for i in queries], side)
        support, support_stages = self.joined([f"support{i}" for row in shots for i in row], side)

        self.trace.begin()
        concept = self.model.encode_support(support, marks, kinds)
        found |= self.features("support", support_stages, concept.high.flatten(0, 1))
        truth = torch.cat([self.masks("query_truth", side)[i] for i in queries])
        found |= self.decoded(query, concept, truth)
        found |= self.features("query", stages, query.high) | self.said(concept)
        if case == "shots5":  # the files hold the first shot of one tensor, else the last
            found["support_merged_s"] = found["support_merged_s"][:1]
            found = {name: value[-1:] if value.ndim else value for name, value in found.items()}
            found["tokens_all_shots"] = self.trace.prompts[0][:, ::5]
        found["sam_embedding_s"] = query.sam.embedding[:, ::8, ::4, ::4]
        if case in REFERENCES:
            found = {name: value for name, value in found.items() if not re.match(REPEATED, name)}
        return found

    def draw(self, case: str, masks: Tensor) -> tuple[Tensor, Weights]:
        """A reference of another kind, drawn as published, and what the files hold of it."""
        seed = self.case["seed"]
        if case == "point_kept":
            seed = int(self.golden.tensors(self.file, "point_kept/")["seed"])
        mark = draw_mark(masks[0, 0], REFERENCES[case], Draws.of_seed(seed))
        side = {"resnet50": 32, "vgg16": 16}[self.name]
        small = F.interpolate(mark[None, None], (side, side), mode="nearest")
        found = {
            "reference_mask_packed": torch.from_numpy(np.packbits(mark.numpy().astype(bool))),
            "reference_small_packed": torch.from_numpy(np.packbits(small.numpy().astype(bool))),
            "reference_counts": torch.stack([mark.sum(), small.sum()])[None],
        }
        if case == "point_kept":
            found["seed"] = torch.tensor(seed)
        return mark[None, None], found

    def joined(self, names: list[str], side: int) -> tuple[EncodedImages, list[Tensor]]:
        encoded, stages = zip(*(self.encode(name, side) for name in names), strict=True)
        together = [torch.cat(stage) for stage in zip(*stages, strict=True)]
        return EncodedImages.join(encoded), together

    def features(self, role: str, stages: list[Tensor], high: Tensor) -> Weights:
        found = {}
        for number, stage in enumerate((*stages, high), start=2):
            found[f"{role}_layer{number}_s"] = stage[:, ::32, ::4, ::4]
            found[f"{role}_layer{number}_mean_c"] = stage.mean((2, 3))
        return found

    def said(self, concept: Support) -> Weights:
        """What the generator's layers gave."""
        reduced, merged = self.trace.reduced, self.trace.merged
        found = {
            "support_reduced_s": reduced[0][:, ::16, ::2, ::2],
            "query_reduced_s": reduced[1][:, ::16, ::2, ::2],
            "support_merged_s": merged[0][:, ::16, ::2, ::2],
            "query_merged_s": merged[1][:, ::16, ::2, ::2],
            "prior": self.trace.mask_channels[1],
            "prototype": concept.prototypes.flatten(0, 1).flatten(1),
        }
        for name, tokens in self.trace.tokens.items():
            every = 1 if name == "self_attention_layers" else 5
            found[f"tokens_after_{name}"] = tokens[:, ::every]
        return found

    def decoded(self, query: EncodedImages, concept: Support, truth: Tensor) -> Weights:
        predicted = self.model.predict(query, concept)
        (low,) = self.trace.decoded
        logits, mask = predicted.logits, predicted.logits >= 0
        overlap, union = (mask & (truth > 0)), (mask | (truth > 0))
        assert torch.equal(predicted.quality, low.quality[:, 0])
        return {
            "low_res_avg4": F.avg_pool2d(low.logits[:, :1], 4),
            "iou": low.quality[:, :1],
            "logits_s": logits[:, ::4, ::4],
            "logits_stats": summary(logits),
            "areas": torch.stack([overlap.sum((1, 2)), union.sum((1, 2))], dim=1),
            "loss": mask_loss(logits, truth, kind="release").mean(),
        }

    @property
    def file(self) -> str:
        return f"vrp_sam_{self.name}"


def released_model(golden: GoldenSet, backbone: str) -> VrpSam:
    """The model of a released checkpoint with weights by the fill rule, on the small SAM."""
    prefix = golden.json("case.json")["prefix_of_weights"]
    names = golden.json("state_dict.json")[backbone]["keys"]
    state = {
        f"module.{name}": fill(prefix + name, shape, kind.startswith("int"))
        for name, (shape, kind) in names.items()
    }
    options, weights = import_release(state, "golden")
    assert options.wiring == "release"
    network = build_backbone(backbone, None)
    load_strictly(network, part(weights, "backbone."), "golden")
    sam = copy.copy(small_sam(prefix))  # a trace changes its methods
    generator = build_generator(options, network.middle_channels, sam.channels)
    load_strictly(generator, part(weights, "generator."), "golden")
    return VrpSam(network, sam, generator, wiring=options.wiring).eval()


program_of = cache(Program)


@pytest.fixture(params=CASES)
def program(request: pytest.FixtureRequest) -> Program:
    return program_of(request.param)


@torch.no_grad()
def test_references_features_tokens_and_masks(program: Program):
    expected = program.golden.tensors(program.file)
    cases, left_out = CASES[program.name], "$."
    if program.golden.folder.is_relative_to(REPOSITORY_SET):
        cases = [case for case in cases if case not in CASES_LEFT_OUT[program.name]]
        left_out = LEFT_OUT[program.name]
    found = {f"{case}/{n}": value for case in cases for n, value in program.run(case).items()}
    found = {name: value for name, value in found.items() if not re.match(left_out, name)}
    assert_close(found, expected, TOLERANCES)


@dataclass(frozen=True)
class Episodes:
    """Two samples with mask references, as a training loss needs them."""

    support_masks: Tensor
    query_mask: Tensor
    query_ignore: Tensor
    support_kinds: tuple[tuple[str, ...], ...] = (("mask",), ("mask",))


def test_one_update():
    program = program_of("resnet50")
    expected = program.golden.tensors("vrp_sam_train")
    side, model = program.case["size"], program.model.train()
    untouched = copy.deepcopy(model.generator.state_dict())
    query, _ = program.joined(["query0", "query1"], side)
    support, _ = program.joined(["support0", "support1"], side)
    references = torch.stack(program.masks("support_masks", side)[:2])
    truth = torch.cat(program.masks("query_truth", side))
    episodes = Episodes(references, truth, torch.zeros_like(truth, dtype=torch.bool))
    prefix = program.case["prefix_of_inputs"]
    kept = {role: fill(f"{prefix}kept_{role}", (2, 256)) >= 0 for role in ("query", "support")}
    numbers = HYPER_PARAMETERS["paper"]["coco"]

    with process_group("cpu") as processes:
        options = TrainingOptions(lr=numbers["lr"], weight_decay=numbers["weight_decay"])
        trainer = Trainer(model, options, processes, episodes_per_epoch=2)
    logits = []
    model.generator.reduce[2].keep(**kept)
    with pytest.MonkeyPatch.context() as patch:
        decode = model.decode
        patch.setattr(model, "decode", lambda *a: logits.append(decode(*a)) or logits[-1])
        losses = model.training_loss(query, support, episodes, LossOptions(numbers["loss"]))
    losses["mask"].backward()
    assert model.training
    learned = {released_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in learned.items()}
    trainer.optimizer.step()

    entropy = binary_cross_entropy(logits[0].logits, truth).mean()
    found = {
        "losses": torch.stack([entropy, losses["mask"]]),
        "tokens": program.trace.tokens["self_attention_layers"],
        "grad_norms": torch.stack([learned[name].grad.norm() for name in sorted(learned)]),
    }
    for name, parameter in learned.items():
        gradient = parameter.grad.flatten(1) if parameter.ndim > 1 else parameter.grad
        found[f"grad/{name}_s"] = gradient[::29, ::29] if gradient.ndim > 1 else gradient[::5]
        if f"update/{name}_s" in expected:
            found[f"update/{name}_s"] = (parameter - before[name]).flatten()[::997]
    sizes = {f"{re.escape(n)}$": 1e-4 * v.norm().item() for n, v in expected.items()}
    model.eval().generator.load_state_dict(untouched)  # the model serves other tests
    assert_close({n: v.detach() for n, v in found.items()}, expected, sizes)
    assert_changes_are_seen(expected, sizes)


@pytest.mark.parametrize("backbone", CASES)
def test_a_change_of_ten_tolerances_is_seen(backbone: str):
    values = method_set("vrp_sam").tensors(f"vrp_sam_{backbone}")
    assert_changes_are_seen(values, {".*/(areas|reference_)": 0.1, "": 1e-4})
