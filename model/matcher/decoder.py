"""SAM's mask decoder for many prompts in one picture: the same answers for less work.

Three things make it cheap, all of them exact:
- the first layer meets the same picture for every prompt, so that it is projected once;
- later, a prompt's few tokens are brought to the width of the picture's features instead of
  bringing the picture's thousands of places to the width of an attention head;
- a mask's quality is known before the mask is drawn, so that only those wanted are drawn.
Source: Segment Anything, appendix A; package `segment_anything`, whose weights it uses.
Shapes: B prompts, N tokens (five of the decoder's own, then the prompt's), C channels, S side of
the embedding, L = S x S places, H heads of D channels each.
"""

from dataclasses import dataclass

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

from model.sam.sam1 import Sam
from model.sam.segmenter import SegmenterFeatures


@dataclass(frozen=True)
class Answers:
    """What the decoder says to B prompts before it draws."""

    quality: Tensor
    """B x 4: estimated IoU of the single mask and of the three proposals."""
    mask_tokens: Tensor
    """B x 4 x C."""
    places: Tensor
    """The picture as the prompt changed it, B x L x C."""


class PictureDecoder:
    """Decodes prompts in one picture."""

    def __init__(self, segmenter: Sam, features: SegmenterFeatures) -> None:
        """Be ready for prompts.

        Args:
            features: of one picture (B = 1).
        """
        self.decoder, self.device = segmenter.mask_decoder, segmenter.device
        self.own_tokens = torch.cat(
            [self.decoder.iou_token.weight, self.decoder.mask_tokens.weight]
        )
        no_mask = segmenter.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        self.side = features.embedding.shape[-1]
        self.places = (features.embedding + no_mask).flatten(2).transpose(1, 2)
        self.position = segmenter.dense_position().flatten(2).transpose(1, 2)
        first = self.decoder.transformer.layers[0]
        placed = self.places + self.position
        self.first_keys = first.cross_attn_token_to_image.k_proj(placed)
        self.first_values = first.cross_attn_token_to_image.v_proj(self.places)
        self.first_queries = first.cross_attn_image_to_token.q_proj(placed)

    def answer(self, tokens: Tensor) -> Answers:
        """Let the picture and prompt tokens, B x any number x C, attend to each other."""
        transformer = self.decoder.transformer
        prompts = torch.cat([self.own_tokens.expand(len(tokens), -1, -1), tokens], dim=1)
        queries, places = prompts, self.places
        for i, layer in enumerate(transformer.layers):
            if layer.skip_first_layer_pe:
                queries = layer.self_attn(queries, queries, queries)
            else:
                marked = queries + prompts
                queries = queries + layer.self_attn(marked, marked, queries)
            queries = layer.norm1(queries)
            marked, look = queries + prompts, layer.cross_attn_token_to_image
            if i == 0:
                seen = _attend(look, look.q_proj(marked), self.first_keys, self.first_values)
            else:
                placed = places + self.position
                seen = _look(look, marked, placed, places)
            queries = layer.norm2(queries + seen)
            queries = layer.norm3(queries + layer.mlp(queries))
            marked, change = queries + prompts, layer.cross_attn_image_to_token
            keys = _heads(change.k_proj(marked), change) * _scale(change)
            if i == 0:
                scores = keys @ _heads(self.first_queries, change).transpose(2, 3)
            else:
                scores = _ask(change, placed, keys)
            places = layer.norm4(places + _spread(change, scores, queries))
        last = transformer.final_attn_token_to_image
        seen = _look(last, queries + prompts, places + self.position, places)
        queries = transformer.norm_final_attn(queries + seen)
        return Answers(self.decoder.iou_prediction_head(queries[:, 0]), queries[:, 1:5], places)

    def draw(self, answers: Answers, wanted: Tensor) -> Tensor:
        """Logits of masks: wanted x 4S x 4S, prompt by prompt.

        Args:
            wanted: which of the four masks of each prompt, B x 4 bool.
        """
        rows = wanted.any(1).nonzero().flatten()
        places = answers.places[rows].transpose(1, 2).unflatten(2, (self.side, self.side))
        pixels = self.decoder.output_upscaling(places.contiguous())
        filters = torch.stack(
            [
                mlp(answers.mask_tokens[rows, i])
                for i, mlp in enumerate(self.decoder.output_hypernetworks_mlps)
            ],
            dim=1,
        )
        return torch.einsum("bmc,bchw->bmhw", filters, pixels)[wanted[rows]]


def _heads(tokens: Tensor, attention: Attention) -> Tensor:
    """B x N x H*D to B x H x N x D."""
    return tokens.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)


def _weight(projection: nn.Linear, attention: Attention) -> Tensor:
    """A projection's weight by head, H x D x C."""
    return projection.weight.unflatten(0, (attention.num_heads, -1))


def _scale(attention: Attention) -> float:
    return (attention.internal_dim // attention.num_heads) ** -0.5


def _attend(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of projected tokens, B x N x H*D, to projected places, 1 x L x H*D: B x N x C."""
    scores = _heads(queries, attention) @ _heads(keys, attention).transpose(2, 3)
    shares = (scores * _scale(attention)).softmax(3)
    return attention.out_proj((shares @ _heads(values, attention)).transpose(1, 2).flatten(2))


def _look(attention: Attention, tokens: Tensor, placed: Tensor, places: Tensor) -> Tensor:
    """Attention of tokens, B x N x C, to places, B x L x C, which are not projected: B x N x C.

    A query times a projected place is the query, projected back, times the place; what the keys'
    bias adds is the same for all places and drops out of the softmax.
    """
    heads = attention.num_heads
    queries = attention.q_proj(tokens)
    queries = queries * _scale(attention)
    asked = _heads(queries, attention) @ _weight(attention.k_proj, attention)
    shares = (asked.flatten(1, 2) @ placed.transpose(1, 2)).softmax(2)
    seen = (shares @ places).unflatten(1, (heads, -1))  # B H N C
    values = seen @ _weight(attention.v_proj, attention).transpose(1, 2)
    return attention.out_proj(values.transpose(1, 2).flatten(2) + attention.v_proj.bias)


def _ask(attention: Attention, placed: Tensor, keys: Tensor) -> Tensor:
    """Scores of places, B x L x C and not projected, for keys, B x H x N x D: B x H x N x L."""
    asked = (keys @ _weight(attention.q_proj, attention)).flatten(1, 2)  # B H*N C
    bias = attention.q_proj.bias.view(1, attention.num_heads, -1, 1)
    scores = asked @ placed.transpose(1, 2) + (keys @ bias).flatten(1, 2)
    return scores.unflatten(1, (attention.num_heads, -1))


def _spread(attention: Attention, scores: Tensor, tokens: Tensor) -> Tensor:
    """What tokens, B x N x C, tell places by their scores, B x H x N x L: B x L x C."""
    values = _heads(attention.v_proj(tokens), attention)
    outputs = attention.out_proj.weight.T.unflatten(0, (attention.num_heads, -1))  # H D C
    # each head's shares sum to one, so that an H-th of the bias in every value is the bias
    told = values @ outputs + attention.out_proj.bias / attention.num_heads  # B H N C
    shares = scores.softmax(2).flatten(1, 2)
    return shares.transpose(1, 2) @ told.flatten(1, 2)
