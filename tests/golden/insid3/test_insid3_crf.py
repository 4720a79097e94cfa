"""The refinement of edges is that of the released program, filter by filter."""

import numpy as np
import torch

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.insid3.crf import DenseCrf
from tests.golden.golden_set import Weights, assert_close
from tests.golden.insid3.insid3_case import Insid3Case, bits
from tests.golden.method_set import assert_changes_are_seen

TOLERANCES = {"bilateral_fg": 5e-3, "": 1e-5}


def crf_values(case: Insid3Case) -> Weights:
    facts, crf = case.facts["crf"], DenseCrf()
    size = tuple(facts["hw"])
    mask = case.mask(facts["mask"], size).bool()
    normalized = case.scene("crf", facts["scene"], size, facts["noise"])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    picture = (normalized[0] * std + mean).clamp(0, 1)
    core, band = crf.regions(mask.numpy())
    own = crf.log_odds(core, band)
    spatial, bilateral = filters = crf.filters(picture.double().numpy())
    start = 1 / (1 + np.exp(-2 * own.reshape(-1)))
    found = {
        "image01_s4": picture[:, ::4, ::4],
        "spatial_fg": spatial(start).reshape(size),
        "bilateral_fg": bilateral(start).reshape(size),
        "probability_fg": crf.probability(own, filters),
        "unary_fg": own,
        "band_bits": bits(torch.from_numpy(band)),
        "core_bits": bits(torch.from_numpy(core)),
        "init_bits": bits(mask),
        "result_bits": bits(crf.refine(mask[None], normalized)[0]),
    }
    return {n: torch.as_tensor(v).to(expected_type(n)) for n, v in found.items()}


def expected_type(name: str) -> torch.dtype:
    return torch.uint8 if name.endswith("bits") else torch.float32


def test_regions_filters_and_mask_are_the_published_ones(insid3_case):
    expected = insid3_case.golden.tensors("insid3_crf")
    assert_close(crf_values(insid3_case), expected, TOLERANCES)
    assert_changes_are_seen(expected, TOLERANCES)
