import itertools
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from model.dc_sam.prompt_generator import (
    PAPER,
    RELEASE_SAM1,
    RELEASE_SAM2,
    BranchDesign,
    LevelFusion,
    PromptGenerator,
    SupportPrompts,
    Wiring,
)
from model.layers import drawn_by_episode, sine_position
from model.sam.segmenter import SegmenterFeatures

CHANNELS, MIDDLE, SIDE, SIZE, PROMPTS = 16, 12, 4, 16, 3


def build(seed: int = 0, **options) -> PromptGenerator:
    """A small generator with seeded weights; options as in `PromptGenerator`, `BranchDesign`."""
    names = {field.name for field in fields(BranchDesign)}
    design = {name: options.pop(name) for name in names & options.keys()}
    design = BranchDesign(**{"num_query": PROMPTS, **design})
    options = {"middle_channels": MIDDLE, "channels": CHANNELS, "design": design} | options
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PromptGenerator(**options)


def random_images(seed: int, count: int) -> tuple[Tensor, SegmenterFeatures]:
    """Middle features and segmenter features, levels included, of some images."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, MIDDLE, SIDE, SIDE, generator=generator),
        SegmenterFeatures(
            torch.randn(count, CHANNELS, SIDE, SIDE, generator=generator),
            (
                torch.randn(count, CHANNELS // 8, 4 * SIDE, 4 * SIDE, generator=generator),
                torch.randn(count, CHANNELS // 4, 2 * SIDE, 2 * SIDE, generator=generator),
            ),
        ),
    )


def random_masks(seed: int, *shape: int) -> Tensor:
    """Masks with objects of many pixels, neither empty nor full on the map."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(*shape, SIDE, SIDE, generator=generator) > 0.5
    cells[..., 0, 0], cells[..., 0, 1] = True, False
    return cells.float().repeat_interleave(4, -1).repeat_interleave(4, -2)


def positions() -> tuple[Tensor, None]:
    return sine_position(CHANNELS, SIDE), None


def support_prompts(generator: PromptGenerator) -> list[SupportPrompts]:
    maps = generator.maps(*random_images(1, 2), SIDE)
    return generator.encode_support(maps, random_masks(1, 2, 1), positions())


def refine(
    generator: PromptGenerator, supports: list[SupportPrompts], pseudo_mask: Tensor | None = None
) -> list[Tensor]:
    """The prompts of two queries; without a pseudo mask, by a random one."""
    maps = generator.maps(*random_images(2, 2), SIDE)
    priors = torch.rand(2, 2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    starts = [support.prompts for support in supports]
    pseudo_mask = random_masks(4, 2, 1) if pseudo_mask is None else pseudo_mask
    return generator.refine(supports, starts, maps, list(priors), pseudo_mask, positions())


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"middle_channels": 1536}, 2_394_624),
        ({"middle_channels": 768}, 2_198_016),
        ({"middle_channels": 1536, "levels": True}, 2_394_624 + 74_176),
        ({"middle_channels": 768, "levels": True}, 2_198_016 + 74_176),
        ({"middle_channels": 0, "fusion": "prior"}, 1_870_336),
    ],
)
def test_learnable_parameters_are_as_many_as_in_the_release(options: dict, count: int):
    generator = build(**options, channels=256, num_query=25)
    assert sum(p.numel() for p in generator.parameters() if p.requires_grad) == count


@pytest.mark.parametrize("switches", list(itertools.product([True, False], repeat=4)))
def test_ablations_run_and_every_parameter_gets_a_gradient(switches: tuple[bool, ...]):
    names = ("segmenter_fusion", "negative_branch", "cyclic", "levels")
    options = dict(zip(names, switches, strict=True))
    generator = build(**options)
    refined = refine(generator, support_prompts(generator))
    assert len(refined) == 1 + options["negative_branch"]
    assert all(prompts.shape == (2, PROMPTS, CHANNELS) for prompts in refined)

    weights = torch.randn(2, 2, PROMPTS, CHANNELS, generator=torch.Generator().manual_seed(5))
    sum((prompts * w).sum() for prompts, w in zip(refined, weights, strict=False)).backward()

    for name, parameter in generator.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_prior_fusion_needs_no_middle_features():
    generator = build(middle_channels=0, fusion="prior")
    _, features = random_images(1, 2)
    (only,) = generator.maps(None, features, SIDE)
    assert torch.equal(only, features.embedding)
    supports = generator.encode_support([only], random_masks(1, 2, 1), positions())
    assert supports[0].prompts.shape == (2, PROMPTS, CHANNELS)


def test_segmenter_features_come_to_the_side_of_the_backbone():
    generator = build()
    middle = torch.randn(1, MIDDLE, 2, 2, generator=torch.Generator().manual_seed(0))
    _, features = random_images(1, 1)
    reduced, embedding = generator.maps(middle, features, 2)
    assert reduced.shape == embedding.shape == (1, CHANNELS, 2, 2)
    # align_corners: corners stay where they are
    torch.testing.assert_close(embedding, features.embedding[..., ::3, ::3])


def test_level_fusion_equals_its_steps():
    torch.manual_seed(0)
    fusion = LevelFusion(CHANNELS)
    _, features = random_images(1, 2)
    fine, middle = features.levels
    with torch.no_grad():
        x = fusion.shrink_fine(fine) + middle
        mean = x.mean(1, keepdim=True)
        spread = ((x - mean).square().mean(1, keepdim=True) + 1e-6).sqrt()
        x = nn.functional.gelu((x - mean) / spread)  # the norm starts with weight 1 and bias 0
        expected = nn.functional.gelu(fusion.shrink_middle(x) + features.embedding)
        torch.testing.assert_close(fusion(features), expected, atol=1e-5, rtol=1e-5)


def test_prototype_worked_out_by_hand():
    # one channel counts the cells 0 to 15; the mask holds cells 0 and 5, its complement the rest
    generator = build(middle_channels=0, fusion="prior", channels=8)
    counted = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 8, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 0, 0] = mask[0, 0, 1, 1] = 1

    positive, negative = generator.encode_support([counted], mask, (sine_position(8, 4), None))

    torch.testing.assert_close(positive.prototype, torch.full((1, 8, 1, 1), 5 / 2.0005))
    torch.testing.assert_close(negative.prototype, torch.full((1, 8, 1, 1), 115 / 14.0005))


def test_fused_features_equal_the_concatenation_of_equation_15():
    generator = build()
    first, second = generator.maps(*random_images(1, 2), SIDE)
    prototype = torch.randn(2, CHANNELS, 1, 1, generator=torch.Generator().manual_seed(0))
    mask = random_masks(1, 2, 1)[..., ::4, ::4]

    tokens = generator.negative.fused([first, second], prototype, mask)

    weight = generator.negative.fuse.weight[..., 0, 0]
    for b, y, x in itertools.product(range(2), range(SIDE), range(SIDE)):
        joined = torch.cat(
            [first[b, :, y, x], prototype[b, :, 0, 0], second[b, :, y, x], 10 * mask[b, :, y, x]]
        )
        expected = (weight @ joined).clamp_min(0)
        torch.testing.assert_close(tokens[b, y * SIDE + x], expected, atol=1e-5, rtol=1e-5)


def test_refined_prompts_look_at_the_query_and_then_at_each_other():
    branch = build().positive
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randn(2, PROMPTS, CHANNELS, generator=generator)
    tokens = torch.randn(2, SIDE * SIDE, CHANNELS, generator=generator)
    mask = random_masks(1, 2)[:, ::4, ::4].flatten(1)
    with torch.no_grad():
        located = branch.query_position.weight
        gathered = branch.query_attention(prompts, tokens, mask, located, *positions())
        heads = branch.self_attention
        q, k, v = (
            (source @ weight.T + bias).unflatten(2, (4, -1)).transpose(1, 2)
            for source, weight, bias in zip(
                (gathered + located, gathered + located, gathered),
                heads.in_proj_weight.chunk(3),
                heads.in_proj_bias.chunk(3),
                strict=True,
            )
        )
        weights = (q @ k.transpose(2, 3) / (CHANNELS // 4) ** 0.5).softmax(3)
        looked = heads.out_proj((weights @ v).transpose(1, 2).flatten(2))
        expected = branch.norm(gathered + looked)
        torch.testing.assert_close(
            branch.refine(prompts, tokens, mask, positions()), expected, atol=1e-5, rtol=1e-5
        )


def test_prototypes_are_means_over_shots():
    generator = build()
    masks = random_masks(1, 1, 2)
    maps = generator.maps(*random_images(1, 2), SIDE)
    both = generator.encode_support(maps, masks, positions())
    singles = generator.encode_support(maps, masks.transpose(0, 1), positions())
    for joint, single in zip(both, singles, strict=True):
        torch.testing.assert_close(joint.prototype[0], single.prototype.mean(0))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_pseudo_masks_of_one_value_give_finite_prompts_and_gradients(value: float):
    generator = build()
    pseudo_mask = torch.full((2, 1, SIZE, SIZE), value)
    refined = refine(generator, support_prompts(generator), pseudo_mask)
    sum(prompts.square().sum() for prompts in refined).backward()
    assert all(prompts.isfinite().all() for prompts in refined)
    assert all(p.grad.isfinite().all() for p in generator.parameters())


def test_dropout_silences_whole_channels_and_doubles_the_others():
    generator = build()
    images = random_images(1, 2)
    whole, embedding = generator.maps(*images, SIDE)
    with drawn_by_episode(generator, [(0, 1)], shots=2):
        dropped, same_embedding = generator.maps(*images, SIDE)
    kept = dropped.flatten(2).any(2) | ~whole.flatten(2).any(2)
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(dropped, 2 * whole * kept[..., None, None])
    assert torch.equal(embedding, same_embedding)


def test_the_wiring_of_the_release_differs_in_the_negative_branch_only():
    paper, release = build(), build(wiring=Wiring(negative_sees_query=False))
    ours, theirs = (refine(one, support_prompts(one)) for one in (paper, release))
    torch.testing.assert_close(ours[0], theirs[0])
    assert not torch.allclose(ours[1], theirs[1])


def test_the_release_shifts_prompts_with_sam_1_alone():
    assert vars(PAPER) == vars(RELEASE_SAM2) | {
        "normalize_prior": True,
        "negative_sees_query": True,
    }
    assert vars(RELEASE_SAM1) == vars(RELEASE_SAM2) | {"shift_prompts": True}
    assert not RELEASE_SAM2.shift_prompts
