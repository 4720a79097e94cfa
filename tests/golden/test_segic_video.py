"""SegIC in a video of two objects, as its published program computes it."""

import pytest
import torch
from torch.nn import functional as F

from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import assert_changes_are_seen, method_set
from tests.golden.segic_case import SegicCase, hint_values, mask, noted

FLIPPED = 1e-3
"""Share of the pixels of a label map that may fall to the other side."""


@pytest.fixture(scope="module")
def case() -> SegicCase:
    return SegicCase(method_set("segic"))


@torch.no_grad()
def run_video(case: SegicCase) -> Weights:
    """Everything that the file holds."""
    model, frames = case.model(case.facts["small"]), case.clip()
    model.negative_clicks = model.padded_prototype = True
    masks = torch.stack([torch.from_numpy(mask(*one)) for one in case.facts["vos"]["masks"]])
    size, video = frames[0].shape[:2], model.video([])
    features, labels, low, quality, own = [], [], [], [], []
    found: Weights = {}
    for t, pixels in enumerate(frames):
        image = model.geometry.image(pixels)[None]
        features.append(model.encode(image).cells)
        with noted(model.decoder) as notes:
            seen = video.step(image, masks if t == 0 else None, sizes=torch.tensor([size]))
        # the program enlarges given masks as 0 and 1, so that they grow a little
        square = seen.masks.float() if t == 0 else seen.raw_logits
        content = model.geometry.crop(square, size)[:, None]
        logits = F.interpolate(content, size, mode="bilinear")[:, 0]
        winner = (logits.sigmoid() * (logits > 0)).argmax(0) + 1
        labels.append(torch.where((logits > 0).any(0), winner, 0))
        first = [one.first if t == 0 else None for one in video.objects]
        found[f"prototype{t}"] = torch.cat(
            [
                one.prototypes[:, 0] if one else followed.latest[:, 0]
                for one, followed in zip(first, video.objects, strict=True)
            ]
        )
        if t == 0:
            continue
        values = hint_values(model.decoder, notes)
        for name in ("point", "point_label", "sparse"):
            found[f"{name}{t}"] = values[name]
        found[f"cosine_stride4_{t}"] = values["cosine_stride4"]
        low.append(values["low_res"])
        quality.append(values["quality4"][:, 0])
        own.append(logits[:, ::2, ::2])
    return found | {
        "features_sliced": torch.cat(features)[:, ::32],
        "labels": torch.stack(labels),
        "low_res": torch.stack(low),
        "quality": torch.stack(quality),
        "logits_stride2": torch.stack(own),
    }


def test_a_video(case: SegicCase):
    expected, found = case.golden.tensors("segic_video", "vos/"), run_video(case)
    flipped = (found.pop("labels") != expected.pop("labels")).float().mean()
    assert flipped <= FLIPPED
    assert_close({key: found[key] for key in found if key in expected}, expected)


def test_a_changed_value_is_seen(case: SegicCase):
    assert_changes_are_seen(case.golden.tensors("segic_video", "vos/"))
