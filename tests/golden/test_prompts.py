"""Prior masks, prototypes, fused features and prompt tokens are those of the release.

Where this project follows the paper instead, both sides are checked: heads that see another
sample's mask in a batch, the last of several shots, and what the negative branch refines on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from model.backbones.backbone import build_backbone
from model.correspondence import prior_mask, shrink_mask
from model.dc_sam import cyclic_attention
from model.dc_sam.builder import build_generator
from model.dc_sam.cyclic_attention import cyclic_consistency
from model.dc_sam.prompt_generator import PAPER, RELEASE_SAM1, RELEASE_SAM2, PromptGenerator
from model.dc_sam.released_names import import_release
from model.layers import sine_position
from model.sam.segmenter import SegmenterFeatures
from model.weights import load_strictly
from tests.golden.fill import fill
from tests.golden.golden_set import (
    TOLERANCE,
    Case,
    Weights,
    assert_agrees,
    assert_close,
    part,
    released_pairing,
    split,
)

AFTER_THE_MASKS = {".*[12]$": 5e-3}
"""Of tokens where a cell of a cyclic mask, a near-tie, fell to the other side."""
ALONE = {"resnet50": (0, 1), "vgg16": (0,)}
"""The samples that the files of a backbone have one at a time."""
TWO_SHOTS = "prompt_resnet50_samv1"
"""The one file with two shots."""
WIRINGS = {
    "official": RELEASE_SAM2,
    "official_inplaceE": RELEASE_SAM1,
    "paper": replace(PAPER, normalize_prior=False),
}


@dataclass(frozen=True)
class FrozenFeatures:
    """What a backbone says of every sample; the same for SAM and SAM 2."""

    backbone: str
    query_middle: Tensor
    support_middle: Tensor
    query_high: Tensor
    support_high: list[Tensor]
    """Of the object and of its complement."""
    known_priors: dict[str, list[Tensor]] = field(default_factory=dict)

    def priors(self, query: list[int], shots: list[int], regions: list[Tensor]) -> list[Tensor]:
        """Prior masks as they are, for B queries and B*K shots whose regions are B x K x H x W."""
        key = f"{query} {shots}"
        if key not in self.known_priors:
            self.known_priors[key] = [
                prior_mask(
                    self.query_high[query],
                    high[shots].unflatten(0, region.shape[:2]),
                    region,
                    normalize=False,
                )
                for high, region in zip(self.support_high, regions, strict=True)
            ]
        return self.known_priors[key]


@dataclass(frozen=True)
class Setup:
    """The released model of one file, its inputs and the values expected of it."""

    generator: PromptGenerator
    frozen: FrozenFeatures
    query: SegmenterFeatures
    support: SegmenterFeatures
    case: Case
    file: str

    @property
    def shifts(self) -> list[Tensor]:
        """E_pos and E_neg."""
        embedding = f"{self.case.prefix}prompt_encoder.point_embeddings"
        return [fill(f"{embedding}.{i}.weight", (1, 256)) for i in (1, 0)]

    def expected(self, group: str) -> Weights:
        return self.case.golden.tensors(self.file, group)


@pytest.fixture(scope="session", params=ALONE)
@torch.no_grad()
def frozen(request, case) -> FrozenFeatures:
    state = case.weights(f"dcsam_image_{request.param}_samv1")
    backbone = build_backbone(request.param, None)
    load_strictly(backbone, part(import_release(state, "golden")[1], "backbone."), "golden")
    query = [backbone.extract(image[None]) for image in case.image("query_img")]
    support = [backbone.extract(image[None]) for image in case.image("support_img")]
    masks = case.support_masks[:, None, None]
    return FrozenFeatures(
        backbone=request.param,
        query_middle=torch.cat([f.middle for f in query]),
        support_middle=torch.cat([f.middle for f in support]),
        query_high=torch.cat([backbone.high(f.trunk, None) for f in query]),
        support_high=[
            torch.cat([backbone.high(f.trunk, m) for f, m in zip(support, region, strict=True)])
            for region in (masks, 1 - masks)
        ],
    )


@pytest.fixture(scope="module", params=[1, 2], ids="samv{}".format)
def setup(request, case, frozen) -> Setup:
    name, version = f"{frozen.backbone}_samv{request.param}", request.param
    case.golden.file(f"prompt_{name}.safetensors")
    options, weights = import_release(case.weights(f"dcsam_image_{name}"), "golden")
    assert (options.backbone, options.sam_version) == (frozen.backbone, version)
    generator = build_generator(options, frozen.query_middle.shape[1], 256).eval()
    load_strictly(generator, part(weights, "generator."), "golden")
    query, support = (case.features(images, version) for images in ("query", "support"))
    return Setup(generator, frozen, query, support, case, f"prompt_{name}")


@contextmanager
def recorded(pairing: Callable[[Tensor, Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Every cyclic mask that is computed, in order, each B x heads x T."""
    found: list[Tensor] = []

    def note(affinity: Tensor, mask: Tensor) -> Tensor:
        found.append(pairing(affinity, mask))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cyclic_attention, "cyclic_consistency", note)
        yield found


def thinned(tokens: Tensor, side: int) -> Tensor:
    """B x T x C tokens as the part of a map that the files hold."""
    return tokens.transpose(1, 2).unflatten(2, (side, side))[:, ::16, ::4, ::4]


@torch.no_grad()
def outputs(
    setup: Setup,
    query: list[int],
    support: list[list[int]],
    pairing: Callable[[Tensor, Tensor], Tensor] = cyclic_consistency,
) -> Weights:
    """Everything the files hold, by their names, for episodes of queries and their shots."""
    generator, frozen = setup.generator, setup.frozen
    shape = (len(query), len(support[0]))
    shots = [sample for episode in support for sample in episode]
    side = frozen.query_middle.shape[-1]
    positions = (sine_position(256, side), None)
    masks = setup.case.support_masks[shots]
    small = shrink_mask(masks[:, None], side)
    regions = [region.unflatten(0, shape) for region in (masks, 1 - masks)]
    priors = frozen.priors(query, shots, regions)
    support_maps = generator.maps(frozen.support_middle[shots], setup.support[shots], side)
    query_maps = generator.maps(frozen.query_middle[query], setup.query[query], side)
    with recorded(pairing) as kept:
        branches = generator.encode_support(support_maps, regions[0], positions)
    found = {
        "prior_pos": priors[0],
        "prior_neg": priors[1],
        "support_mask_small": small,
        "neg_support_mask_small": 1 - small,
        "prototype": branches[0].prototype,
        "neg_prototype": branches[1].prototype,
        "pos1": branches[0].prompts,
        "neg1": branches[1].prompts,
        "keep_s1_pos": kept[0].flatten(0, 1),
        "keep_s1_neg": kept[1].flatten(0, 1),
        "query_feat_1_s": thinned(
            generator.positive.fused(query_maps, branches[0].prototype, priors[0]), side
        ),
        "neg_query_feat_1_s": thinned(
            generator.negative.fused(query_maps, branches[1].prototype, priors[1]), side
        ),
    }
    if shape[1] > 1:
        return found

    found["supp_feat_1_s"] = thinned(branches[0].tokens, side)
    for name, wiring in WIRINGS.items():
        prompts = [branch.prompts for branch in branches]
        if wiring.shift_prompts:
            prompts = [p + shift for p, shift in zip(prompts, setup.shifts, strict=True)]
        generator.wiring = wiring
        pseudo = setup.case.query_masks[query][:, None]
        with recorded(pairing) as kept:
            refined = generator.refine(branches, prompts, query_maps, priors, pseudo, positions)
        found |= {f"{name}_pos2": refined[0], f"{name}_neg2": refined[1]}
        if name == "official":
            found["keep_s2_pos"] = kept[0].flatten(0, 1)
        if not wiring.shift_prompts:
            found[f"keep_s2_neg_{name}"] = kept[1].flatten(0, 1)
    return found


@pytest.fixture(scope="module")
def one_by_one(setup) -> dict[int, Weights]:
    return {i: outputs(setup, [i], [[i]]) for i in setup.case.samples}


def assert_all_agree(found: Weights, expected: Weights) -> None:
    # the paper's positive branch is the release's, and is not in the files a second time
    assert_agrees(split(found, "paper_pos2")[1], expected, AFTER_THE_MASKS)


def test_samples_one_at_a_time_agree_in_every_wiring(setup, one_by_one):
    for sample in ALONE[setup.frozen.backbone]:
        assert_all_agree(one_by_one[sample], setup.expected(f"b1_{sample}/"))


def test_without_shifted_prompts_the_wirings_differ_in_the_negative_branch_only(one_by_one):
    for found in one_by_one.values():
        torch.testing.assert_close(found["paper_pos2"], found["official_pos2"])
        assert (found["paper_neg2"] - found["official_neg2"]).abs().max() > 1e-2
        assert (found["official_inplaceE_pos2"] - found["official_pos2"]).abs().max() > 1e-2


def test_a_batch_gives_every_sample_what_it_gets_alone(setup, one_by_one):
    together = outputs(setup, setup.case.samples, [[i] for i in setup.case.samples])
    for name, values in together.items():
        alone = torch.cat([one_by_one[i][name] for i in setup.case.samples])
        assert (values.float() - alone.float()).abs().max() < TOLERANCE, name


def test_in_a_batch_of_the_release_heads_see_the_mask_of_another_sample(setup, one_by_one):
    expected = setup.expected("b2/")
    shots = [[i] for i in setup.case.samples]
    found = outputs(setup, setup.case.samples, shots, released_pairing)
    assert_all_agree(found, expected)
    # here every sample keeps its own mask, so that the stage-1 tokens are others
    alone = torch.cat([one_by_one[i]["pos1"] for i in setup.case.samples])
    assert (alone - expected["pos1"]).abs().max() > 1e-2


def test_two_shots_make_one_prior_and_their_order_does_not_matter(setup, one_by_one):
    found, swapped = (outputs(setup, [0], [shots]) for shots in ([0, 1], [1, 0]))
    for name in ("prior_pos", "prototype", "pos1", "neg1"):
        torch.testing.assert_close(found[name], swapped[name], atol=TOLERANCE, rtol=0)
    each = torch.cat([one_by_one[shot]["prototype"] for shot in (0, 1)])
    torch.testing.assert_close(found["prototype"][0], each.mean(0), atol=TOLERANCE, rtol=0)
    # the release's tokens are those of the last shot alone, these gather from both
    last = {name: one_by_one[1][name] for name in ("pos1", "neg1")}
    assert all((found[name] - last[name]).abs().max() > 1e-3 for name in last)
    if setup.file == TWO_SHOTS:
        released = {name: found[name] for name in ("prior_pos", "prior_neg", "query_feat_1_s")}
        assert_close({**released, **last, "prototype": each}, setup.expected("shot2/"))
