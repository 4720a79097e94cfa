"""PFENet after its backbone, number by number, in loops: slow, and written apart from the model.

Shapes: C channels, S side of a map, s of a scale; one query, K references, float64.
"""

import math
from collections.abc import Mapping

import numpy as np


def resize(map_: np.ndarray, side: int) -> np.ndarray:
    """C x S x S to C x side x side: bilinear, corners upon corners."""
    old = map_.shape[-1]
    found = np.zeros((len(map_), side, side))
    for row in range(side):
        for column in range(side):
            y = row * (old - 1) / (side - 1) if side > 1 else 0.0
            x = column * (old - 1) / (side - 1) if side > 1 else 0.0
            top, left = math.floor(y), math.floor(x)
            for r, weight_r in ((top, 1 - y + top), (min(top + 1, old - 1), y - top)):
                for c, weight_c in ((left, 1 - x + left), (min(left + 1, old - 1), x - left)):
                    found[:, row, column] += weight_r * weight_c * map_[:, r, c]
    return found


def pool(map_: np.ndarray, side: int) -> np.ndarray:
    """C x S x S to C x side x side: the mean of all cells that a new one touches."""
    old = map_.shape[-1]
    found = np.zeros((len(map_), side, side))
    for row in range(side):
        for column in range(side):
            top, bottom = row * old // side, -(-(row + 1) * old // side)
            left, right = column * old // side, -(-(column + 1) * old // side)
            found[:, row, column] = map_[:, top:bottom, left:right].mean(axis=(1, 2))
    return found


def convolve(map_: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """C x S x S by weights D x C x k x k, with zeros around the map: D x S x S."""
    reach, side = weight.shape[-1] // 2, map_.shape[-1]
    around = np.pad(map_, ((0, 0), (reach, reach), (reach, reach)))
    found = np.zeros((len(weight), side, side))
    for channel in range(len(weight)):
        for row in range(side):
            for column in range(side):
                seen = around[:, row : row + 2 * reach + 1, column : column + 2 * reach + 1]
                found[channel, row, column] = (seen * weight[channel]).sum()
        found[channel] += 0 if bias is None else bias[channel]
    return found


def prior(query: np.ndarray, references: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Query C x S x S, references K x C x S x S, masks K x S x S: 1 x S x S."""
    side = query.shape[-1]
    total = np.zeros((side, side))
    for reference, mask in zip(references, masks, strict=True):
        best = np.full((side, side), -np.inf)
        for place in np.ndindex(side, side):
            here = query[:, *place]
            for other in np.ndindex(side, side):
                there = reference[:, *other] * mask[other]
                lengths = np.linalg.norm(here) * np.linalg.norm(there)
                best[place] = max(best[place], here @ there / (lengths + 1e-7))
        total += (best - best.min()) / (best.max() - best.min() + 1e-7)
    return (total / len(masks))[None]


def prototype(reduced: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Reduced references K x C x S x S, masks K x S x S: C, the mean over references."""
    total = np.zeros(reduced.shape[1])
    for map_, mask in zip(reduced, masks, strict=True):
        weighted, area = np.zeros(reduced.shape[1]), 0.0005
        for place in np.ndindex(mask.shape):
            weighted += map_[:, *place] * mask[place]
            area += mask[place]
        total += weighted / area
    return total / len(masks)


def _relu(map_: np.ndarray) -> np.ndarray:
    return np.maximum(map_, 0)


def _classes(map_: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    hidden = _relu(convolve(map_, weights[f"{name}.0.weight"]))
    found = convolve(hidden, weights[f"{name}.3.weight"], weights[f"{name}.3.bias"])
    return found[1] - found[0]


def _refined(map_: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    hidden = _relu(convolve(map_, weights[f"{name}.0.weight"]))
    return map_ + _relu(convolve(hidden, weights[f"{name}.2.weight"]))


def enrich(
    query: np.ndarray,
    told: np.ndarray,
    prior_map: np.ndarray,
    weights: Mapping[str, np.ndarray],
    sides: list[int],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Reduced query C x S x S, prototype C, prior 1 x S x S: logits S x S, and of scales s x s.

    Args:
        weights: by the names of the published program.
    """
    enriched: list[np.ndarray] = []
    logits = []
    for scale, side in enumerate(sides):
        everywhere = np.tile(told[:, None, None], (1, side, side))
        maps = np.concatenate([pool(query, side), everywhere, resize(prior_map, side)])
        merged = _relu(convolve(maps, weights[f"init_merge.{scale}.0.weight"]))
        if scale > 0:
            both = np.concatenate([merged, resize(enriched[scale - 1], side)])
            merged = merged + _relu(convolve(both, weights[f"alpha_conv.{scale - 1}.0.weight"]))
        merged = _refined(merged, weights, f"beta_conv.{scale}")
        logits.append(_classes(merged, weights, f"inner_cls.{scale}"))
        enriched.append(resize(merged, query.shape[-1]))
    joined = _relu(convolve(np.concatenate(enriched), weights["res1.0.weight"]))
    return _classes(_refined(joined, weights, "res2"), weights, "cls"), logits
