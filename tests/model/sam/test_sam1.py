import pytest
import segment_anything
import torch
from segment_anything.modeling.image_encoder import Attention

from model.sam import sam1
from model.sam.sam1 import FusedAttention, Sam


@pytest.mark.parametrize(
    ("images", "size", "stored"),
    [
        (6, (7, 7), (7, 7)),
        (2, (14, 14), (14, 14)),
        (1, (20, 20), (20, 20)),
        (1, (16, 16), (10, 10)),
        (2, (5, 7), None),
    ],
    ids=["window", "full window", "global", "interpolated positions", "no relative positions"],
)
@pytest.mark.parametrize("numbers", [2**22, 1500], ids=["whole", "some rows at a time"])
@torch.no_grad()
def test_fused_attention_equals_the_explicit_one(
    images: int, size: tuple[int, int], stored: tuple[int, int] | None, numbers: int, monkeypatch
):
    monkeypatch.setattr(sam1, "BIAS_NUMBERS", numbers)
    options = {"num_heads": 3, "use_rel_pos": stored is not None, "input_size": stored}
    explicit, fused = Attention(24, **options), FusedAttention(24, **options)
    generator = torch.Generator().manual_seed(size[0])
    for parameter in explicit.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    fused.load_state_dict(explicit.state_dict())
    x = torch.randn(images, *size, 24, generator=generator)

    expected = explicit(x)

    assert expected.std() > 0.1
    torch.testing.assert_close(fused(x), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_official_variants_are_the_packages_with_fused_attention(name: str):
    with torch.device("meta"):
        official = segment_anything.sam_model_registry[name]()
        ours = Sam(name)
    expected = {n: tuple(v.shape) for n, v in official.state_dict().items()}
    assert {n: tuple(v.shape) for n, v in ours.official.state_dict().items()} == expected
    assert ours.image_size == official.image_encoder.img_size
    assert ours.embedding_size == 64
    blocks = zip(ours.image_encoder.blocks, official.image_encoder.blocks, strict=True)
    for one, other in blocks:
        assert type(one.attn) is FusedAttention
        assert one.window_size == other.window_size
        assert one.attn.num_heads == other.attn.num_heads
        assert one.attn.use_rel_pos == other.attn.use_rel_pos
        assert one.norm1.eps == other.norm1.eps


@torch.no_grad()
def test_decoding_equals_the_package_called_once_per_image():
    torch.manual_seed(0)
    segmenter = Sam("tiny").eval()
    features = segmenter.encode(torch.randn(3, 3, 128, 128))
    positive, negative = torch.randn(2, 3, 4, segmenter.channels)

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


@torch.no_grad()
def test_mask_prompts_equal_the_packages():
    torch.manual_seed(0)
    segmenter = Sam("tiny").eval()
    features = segmenter.encode(torch.randn(2, 3, 128, 128))
    points = torch.tensor([[[20.0, 30.0], [0, 0]], [[70.0, 110.0], [0, 0]]])
    labels = torch.tensor([[1, -1], [0, -1]])
    masks = torch.randn(2, 1, 64, 64)

    decoded = segmenter.decode_all(
        features, segmenter.point_tokens(points, labels), segmenter.embed_masks(masks)
    )

    encoder = segmenter.prompt_encoder
    for i in range(2):
        one = slice(i, i + 1)
        sparse, dense = encoder((points[one, :1], labels[one, :1]), None, masks[one])
        logits, quality = segmenter.mask_decoder(
            image_embeddings=features.embedding[one],
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        torch.testing.assert_close(decoded.logits[one, 1:], logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(decoded.quality[one, 1:], quality, atol=1e-5, rtol=1e-4)
