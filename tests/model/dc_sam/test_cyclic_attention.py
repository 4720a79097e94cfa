import math

import pytest
import torch
from torch import Tensor, nn

from model.dc_sam.cyclic_attention import CyclicAttention, cyclic_consistency

HEADS, CHANNELS, PROMPTS, TOKENS = 4, 16, 3, 11


def random_inputs(seed: int, batch: int = 2) -> dict[str, Tensor]:
    """Arguments of `CyclicAttention.forward`, by name."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "prompts": torch.randn(batch, PROMPTS, CHANNELS, generator=generator),
        "tokens": torch.randn(batch, TOKENS, CHANNELS, generator=generator),
        "mask": (torch.rand(batch, TOKENS, generator=generator) > 0.5).float(),
        "prompt_position": torch.randn(PROMPTS, CHANNELS, generator=generator),
        "key_position": torch.randn(TOKENS, CHANNELS, generator=generator),
    }


def random_layer(seed: int = 0, cyclic: bool = True) -> CyclicAttention:
    """A layer in which every parameter, biases and norm included, has a random value."""
    layer = CyclicAttention(CHANNELS, HEADS, cyclic)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layer


def reference_consistency(affinity: list[list[float]], mask: list[float]) -> list[bool]:
    """Equations 17 to 19 for one head of one sample."""
    prompts, tokens = len(affinity), len(mask)
    kept = []
    for j in range(tokens):
        best_prompt = max(range(prompts), key=lambda i: affinity[i][j])
        best_token = max(range(tokens), key=lambda t: affinity[best_prompt][t])
        kept.append(mask[j] == mask[best_token])
    return kept


def reference(
    layer: CyclicAttention,
    prompts: Tensor,
    tokens: Tensor,
    mask: Tensor,
    prompt_position: Tensor,
    key_position: Tensor,
    value_position: Tensor | None = None,
) -> Tensor:
    """Equations 17 to 20, one sample and one head after the other."""
    weights = layer.projection.weight.view(3, HEADS, -1, CHANNELS)
    biases = layer.projection.bias.view(3, HEADS, -1)
    sources = (prompts + prompt_position, tokens + key_position, tokens)
    results = []
    for b in range(len(prompts)):
        gathered, places = [], torch.zeros(PROMPTS, CHANNELS)
        for head in range(HEADS):
            q, k, v = (sources[p][b] @ weights[p, head].T + biases[p, head] for p in range(3))
            affinity = q @ k.T / math.sqrt(CHANNELS // HEADS)
            kept = torch.tensor(reference_consistency(affinity.tolist(), mask[b].tolist()))
            assert kept.any()
            powers = (affinity - affinity.amax()).exp() * kept
            shares = powers / powers.sum(1, keepdim=True)
            gathered.append(shares @ v)
            if value_position is not None:
                places += shares @ value_position / HEADS
        after = prompts[b] + torch.cat(gathered, 1) @ layer.output.weight.T
        after = after + layer.output.bias + places
        centred = after - after.mean(1, keepdim=True)
        spread = (centred.square().mean(1, keepdim=True) + layer.norm.eps).sqrt()
        results.append(centred / spread * layer.norm.weight + layer.norm.bias)
    return torch.stack(results)


def test_consistency_worked_out_by_hand():
    # prompt 0 likes token 0 best, prompt 1 likes token 2; tokens 0, 1, 3 belong to prompt 0 and
    # lead to token 0, token 2 leads to itself
    affinity = torch.tensor([[9.0, 5.0, 1.0, 3.0], [2.0, 4.0, 8.0, 0.0]])[None, None]
    mask = torch.tensor([[1.0, 1.0, 0.0, 0.0]])

    kept = cyclic_consistency(affinity, mask)

    assert kept.tolist() == [[[True, True, True, False]]]


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ties_never_mask_every_token(levels: int):
    # few distinct affinities, down to a constant one, over many cases
    generator = torch.Generator().manual_seed(levels)
    affinity = torch.randint(levels, (500, HEADS, PROMPTS, TOKENS), generator=generator).float()
    mask = (torch.rand(500, TOKENS, generator=generator) > 0.5).float()
    assert cyclic_consistency(affinity, mask).any(dim=2).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("value_position", [False, True])
def test_equals_a_slow_reference(seed: int, value_position: bool):
    layer, inputs = random_layer(seed), random_inputs(seed)
    if value_position:
        inputs["value_position"] = inputs["key_position"] + 1
    with torch.no_grad():
        expected = reference(layer, **inputs)
        torch.testing.assert_close(layer(**inputs), expected, atol=1e-5, rtol=1e-5)


def special_mask(kind: str) -> Tensor:
    mask = torch.full((2, TOKENS), float(kind == "all one"))
    if kind == "one pixel":
        mask[0, 0], mask[1, TOKENS // 2] = 1, 1
    return mask


@pytest.mark.parametrize("kind", ["all zero", "all one", "one pixel"])
@pytest.mark.parametrize("constant", [False, True])
def test_special_masks_give_finite_values_and_gradients(kind: str, constant: bool):
    layer, inputs = random_layer(), random_inputs(2)
    inputs["mask"] = special_mask(kind)
    if constant:  # every token has the same key: all affinities of a prompt tie
        inputs["tokens"] = torch.ones_like(inputs["tokens"])
        inputs["key_position"] = torch.zeros_like(inputs["key_position"])
    leaves = [inputs["prompts"], inputs["tokens"], *layer.parameters()]
    for leaf in leaves:
        leaf.requires_grad_()

    result = layer(**inputs)
    result.square().sum().backward()

    assert result.isfinite().all()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("kind", ["all zero", "all one"])
def test_a_mask_of_one_value_leaves_plain_attention(kind: str):
    inputs = random_inputs(3) | {"mask": special_mask(kind)}
    with torch.no_grad():
        torch.testing.assert_close(random_layer()(**inputs), random_layer(cyclic=False)(**inputs))


def test_without_cycles_it_is_the_attention_of_torch():
    layer, inputs = random_layer(cyclic=False), random_inputs(4)
    attention = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(layer.projection.weight)
        attention.in_proj_bias.copy_(layer.projection.bias)
        attention.out_proj.load_state_dict(layer.output.state_dict())
        gathered, _ = attention(
            inputs["prompts"] + inputs["prompt_position"],
            inputs["tokens"] + inputs["key_position"],
            inputs["tokens"],
        )
        expected = layer.norm(inputs["prompts"] + gathered)
        torch.testing.assert_close(layer(**inputs), expected, atol=1e-5, rtol=1e-5)


def test_the_mask_changes_the_result():
    layer, inputs = random_layer(), random_inputs(5)
    other = inputs | {"mask": torch.ones_like(inputs["mask"])}
    with torch.no_grad():
        assert not torch.allclose(layer(**inputs), layer(**other))


def test_the_order_of_tokens_does_not_matter():
    layer, inputs = random_layer(), random_inputs(6)
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(0))
    shuffled = inputs | {
        "tokens": inputs["tokens"][:, order],
        "mask": inputs["mask"][:, order],
        "key_position": inputs["key_position"][order],
    }
    with torch.no_grad():
        torch.testing.assert_close(layer(**inputs), layer(**shuffled), atol=1e-5, rtol=1e-5)


def test_half_precision_gives_no_nan():
    layer = random_layer()
    for seed in range(20):
        inputs = random_inputs(seed)
        inputs["tokens"] = inputs["tokens"].round()  # many affinities tie
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = layer(**inputs)
        result.float().square().sum().backward()
        assert result.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
