"""PerSAM and PerSAM-F carry given masks through a video as the published program."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.persam.features import Pictures
from model.persam.frame import Frame
from model.persam.location import cosine_map, highest_places, locate, released_mask
from model.persam.rules import Rules, Training
from model.persam.scale_training import VIDEO_TRAINING
from model.persam.video import PerSam, PerSamVideo
from model.sam.sam1 import Sam
from tests.golden.golden_set import Weights
from tests.golden.method_set import method_set
from tests.golden.persam_case import PersamCase
from tests.golden.persam_log import (
    Log,
    assert_equal,
    feature_values,
    logged,
    logged_training,
    named,
    stats,
    training_values,
)

HAND_OVER = Rules(released_hand_over=True)
RUNS = [
    ("persam_video", "published/", 2, Rules(released_areas=True, released_hand_over=True)),
    ("persam_video", "areas_in_int64/", 3, HAND_OVER),
    ("persam_videof", "aligned/", 4, Rules()),
    pytest.param("persam_videof", "published/", 4, HAND_OVER, marks=pytest.mark.slow),
]
"""File, group, frames in the repository, and the rules by which it was made."""


@pytest.fixture(scope="module")
def case() -> PersamCase:
    return PersamCase.of(method_set("persam"))


@pytest.fixture(scope="module")
def sam(case: PersamCase) -> Sam:
    return case.sam(video=True)


@pytest.fixture(scope="module")
def encoded(case: PersamCase, sam: Sam) -> Callable[[int, int], Pictures]:
    """Frames by number, each encoded once."""
    method, known = PerSam(sam, Rules()), {}

    def encode(number: int, crc: int) -> Pictures:
        if number not in known:
            pixels = case.frame(number, crc)
            sizes = torch.tensor([pixels.shape[:2]])
            known[number] = method.encode(method.geometry.image(pixels)[None], sizes=sizes)
        return known[number]

    return encode


def object_values(
    log: Log, number: int, picture: Pictures, vector: Tensor, frame: Frame, places: int
) -> Weights:
    """What the files hold of one object: its search, and its passes counted over all objects."""
    [cosines] = cosine_map(picture.sam.embedding, vector[None])
    own = locate(cosines, frame)
    search = {
        "cosine_64": cosines,
        "cosine_stats": stats(own),
        "points": highest_places(own, places),
        "point_labels": torch.ones(places, dtype=torch.int64),
    }
    found = named(f"search{number}", search)
    passes = len(log.calls)
    for index, call in enumerate(log.calls):
        values = log.prompt(call, number, sampled=False)
        found |= named(f"prompt{passes * number + index}", values)
    return found


def first_frame(
    case: PersamCase, method: PerSam, picture: Pictures, crcs: list[int]
) -> tuple[PerSamVideo, Weights]:
    """Begin with the masks, which the release brings to the square with the value 215."""
    masks = case.frame_masks()
    small = released_mask(case.square(method.geometry, masks, 215), 64)
    steps = case.facts["video"]["finetune_steps"]
    training = Training(steps, VIDEO_TRAINING.rate)
    with logged() as log, logged_training() as rows:
        video = method.video([])
        video.take(picture, torch.from_numpy(masks), small > 0, training=training)
        video.index = 1
    found = {"reference/mask_64": small[-1]}  # of the last object
    if method.training_plan is not None:
        [frame] = method.frames(picture)
        for number, vector in enumerate(video.support.target.mixed):
            mine = rows[steps * number : steps * (number + 1)]
            found[f"training{number}"] = training_values(mine)
            found[f"training{number}_final"] = video.support.weights[number]
            values = object_values(log, number, picture, vector, frame, places=1)
            # the release encodes the frame anew for each object
            moved = {
                name.replace(f"search{number}", "search0").replace(f"prompt{number}", "prompt0"): v
                for name, v in values.items()
            }
            found |= named(f"image{number}", moved)
    return video, found


@pytest.mark.parametrize(("file", "group", "frames", "rules"), RUNS)
def test_video(
    case: PersamCase,
    sam: Sam,
    encoded: Callable,
    file: str,
    group: str,
    frames: int,
    rules: Rules,
    monkeypatch: pytest.MonkeyPatch,
):
    expected = case.golden.tensors(file, group)
    crcs = case.golden.json(f"{file}.json")
    tuned = file == "persam_videof"
    method = PerSam(sam, rules, VIDEO_TRAINING if tuned else None)
    picture = encoded(0, crcs[f"{group}image0/crc"])
    video, found = first_frame(case, method, picture, crcs)
    count = len(video.boxes)
    boxes = video.boxes * (2 if tuned else 1)  # the training takes them too
    if group == "published/":
        found |= named("image0", feature_values(picture))
    for number in range(1, case.facts["video"]["frames"] if case.whole else frames):
        name = f"image{number + count - 1}"
        picture = encoded(number, crcs[f"{group}{name}/crc"])
        if number > 1:
            boxes += [box for box in video.boxes if box is not None]
        known = [n for n, box in enumerate(video.boxes) if box is not None]
        with logged() as log, monkeypatch.context() as patch:
            patch.setattr(method, "encode", lambda _, sizes, picture=picture: picture)
            video.step(torch.zeros(1))
        if group == "published/":
            found |= named(name, feature_values(picture))
        [frame] = method.frames(picture)
        for row, n in enumerate(known):
            vector = video.support.target.mixed[n]
            values = object_values(log, row, picture, vector, frame, places=1 if tuned else 2)
            found |= named(name, values)
        for n in range(1, count + 1):
            mask = video.labels == n
            found[f"frame{number}/object{n}_bits"] = mask
            found[f"frame{number}/object{n}_shape"] = torch.tensor(mask.shape)
    found["box_prompts"] = torch.stack(boxes)
    found["box_centers"] = (found["box_prompts"][:, :2] + found["box_prompts"][:, 2:]) // 2
    for name in ("box_prompts", "box_centers"):  # of all frames
        expected[name] = expected[name] if case.whole else expected[name][: len(boxes)]
    assert_equal(case.kept(file, group, found), expected)
