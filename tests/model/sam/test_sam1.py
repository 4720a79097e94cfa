import pytest
import segment_anything
import torch
from segment_anything.modeling.image_encoder import Attention

from model.sam.sam1 import SIZES, FusedAttention, Sam


@pytest.fixture(scope="module")
def segmenter() -> Sam:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Sam("tiny").eval().requires_grad_(False)


def random_attention(side: int, stored: int | None = None) -> Attention:
    """The package's attention with random weights, its relative positions included."""
    size = (stored or side,) * 2
    attention = Attention(24, num_heads=3, use_rel_pos=True, input_size=size)
    generator = torch.Generator().manual_seed(side)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return attention


@pytest.mark.parametrize(
    ("images", "side", "stored"),
    [(6, 7, None), (2, 14, None), (1, 20, None), (1, 16, 10)],
    ids=["window", "full window", "global", "global with interpolated positions"],
)
def test_fused_attention_equals_the_explicit_one(images: int, side: int, stored: int | None):
    explicit = random_attention(side, stored)
    fused = FusedAttention(24, num_heads=3, use_rel_pos=True, input_size=(stored or side,) * 2)
    fused.load_state_dict(explicit.state_dict())
    x = torch.randn(images, side, side, 24, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        expected, result = explicit(x), fused(x)

    assert expected.std() > 0.1
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_fused_attention_works_without_relative_positions():
    torch.manual_seed(0)
    explicit = Attention(24, num_heads=3)
    fused = FusedAttention(24, num_heads=3)
    fused.load_state_dict(explicit.state_dict())
    x = torch.randn(2, 5, 7, 24)
    torch.testing.assert_close(fused(x), explicit(x), atol=1e-5, rtol=1e-5)


def test_every_block_uses_the_fused_attention(segmenter: Sam):
    assert all(type(block.attn) is FusedAttention for block in segmenter.image_encoder.blocks)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_names_and_shapes_are_those_of_official_files(name: str):
    with torch.device("meta"):
        official = segment_anything.sam_model_registry[name]()
        ours = Sam(name)
    expected = {n: tuple(v.shape) for n, v in official.state_dict().items()}
    assert {n: tuple(v.shape) for n, v in ours.official.state_dict().items()} == expected
    assert ours.image_size == official.image_encoder.img_size
    assert ours.embedding_size == 64


def test_the_blocks_of_official_variants_are_those_of_the_package():
    with torch.device("meta"):
        official = segment_anything.sam_model_registry["vit_b"]().image_encoder
        ours = Sam("vit_b").image_encoder
    for one, other in zip(ours.blocks, official.blocks, strict=True):
        assert one.window_size == other.window_size
        assert one.attn.num_heads == other.attn.num_heads
        assert one.attn.use_rel_pos == other.attn.use_rel_pos
        assert one.norm1.eps == other.norm1.eps


def random_prompts(segmenter: Sam, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, batch, 4, segmenter.channels, generator=generator)


def test_decoding_equals_the_package_called_once_per_image(segmenter: Sam):
    images = torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    features = segmenter.encode(images)
    positive, negative = random_prompts(segmenter, 3)

    logits = segmenter.decode(features, positive, negative)
    decoded = segmenter.decode_all(features, segmenter.prompt(positive, negative))

    assert logits.shape == (3, 1, 64, 64)
    assert torch.equal(logits, decoded.logits[:, :1])
    encoder = segmenter.prompt_encoder
    no_mask = encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand(1, -1, 16, 16)
    for i in range(3):
        one = slice(i, i + 1)
        masks, quality = segmenter.mask_decoder(
            image_embeddings=features.embedding[one],
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=segmenter.prompt(positive[one], negative[one]),
            dense_prompt_embeddings=no_mask,
            multimask_output=False,
        )
        torch.testing.assert_close(logits[one], masks, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(decoded.quality[one, :1], quality, atol=1e-5, rtol=1e-4)


def test_a_batch_equals_one_by_one(segmenter: Sam):
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    positive, negative = random_prompts(segmenter, 2)
    batched = segmenter.encode(images)
    logits = segmenter.decode(batched, positive, negative)
    for i in range(2):
        one = slice(i, i + 1)
        single = segmenter.encode(images[one])
        torch.testing.assert_close(batched.embedding[one], single.embedding, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            logits[one],
            segmenter.decode(single, positive[one], negative[one]),
            atol=1e-4,
            rtol=1e-4,
        )


def test_a_single_branch_can_be_decoded(segmenter: Sam):
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    positive, negative = random_prompts(segmenter, 1)
    features = segmenter.encode(images)
    alone = segmenter.decode(features, positive, None)
    assert alone.shape == (1, 1, 64, 64)
    assert not torch.allclose(alone, segmenter.decode(features, positive, negative))


def test_the_tiny_variant_fits_into_five_megabytes_at_half_precision(segmenter: Sam):
    assert 2 * sum(p.numel() for p in segmenter.parameters()) < 5e6
    assert segmenter.image_size == SIZES["tiny"].image_size
