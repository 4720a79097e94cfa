"""Two clips of SINE, the second with an object that appears later; and what is remembered."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.sine.canvas import Canvas
from model.sine.memory import MemoryRules, ObjectMemory, RememberedFrame
from model.sine.references import MaskedSums
from model.sine.video import Frame, SineVideo, Tracked, VideoRules
from tests.golden.golden_set import Weights, assert_close
from tests.golden.method_set import method_set
from tests.golden.sine_case import PUBLISHED, SineCase, bits, flips, former_values

FLIPPED = 3
DECAYS = {"linear": "linear", "ellipse": "ellipse", "cos": "cosine"}
"""What the released program calls a decay -> ours."""
TOLERANCES = {".*(blocked|references|ids|frames|given)": 0, "": 1e-3}


@pytest.fixture(scope="module")
def case() -> SineCase:
    return SineCase(method_set("sine"))


@dataclass
class Noted:
    """What a video looked for and found, frame by frame."""

    video: SineVideo
    found: list[Weights] = field(default_factory=list)
    tracked: list[Tracked] = field(default_factory=list)

    def track(self, frame: Frame, numbers: list[int]) -> Tracked:
        memories = [self.video.rows[number].memory for number in numbers]
        sums = [memory.sums() for memory in memories]
        tokens = torch.stack([one.tokens() for one in sums])[None]
        values = former_values(self.video.model.former, frame.features, tokens, tokens)
        wanted = ("correlation", "blocked", "id_position", *_heads())
        found = {name: values[name] for name in wanted}
        found |= {f"pool{n}": token[None, None] for n, token in enumerate(tokens[0])}
        counts = torch.tensor([len(memory.frames) for memory in memories])
        found["references"] = torch.tensor(numbers).add(1).repeat_interleave(counts)
        answer = SineVideo.track(self.video, frame, numbers)
        found |= {"ids": torch.tensor(numbers) + 1, "scores": answer.scores}
        self.found.append(found | {"masks": bits(answer.masks)})
        self.tracked.append(answer)
        return answer


def _heads() -> list[str]:
    return [f"layer6/id_{name}" for name in ("tokens", "logits", "masks")]


@pytest.mark.parametrize("name", ["davis", "late"])
def test_objects_are_followed(case: SineCase, name: str, monkeypatch):
    facts: dict[str, Any] = case.facts["vos"]
    clip, expected = facts[name], case.golden.tensors("sine_vos", f"{name}/")
    numbers = clip["frames"]
    canvas = Canvas(facts["image"], fit="video")
    rules = VideoRules(
        MemoryRules(clip["num_frame"], *clip["decay"]),
        echo_given=False,
        overlap="last",
        age_step=numbers[1] - numbers[0],
    )
    video = case.model("vos", canvas, PUBLISHED, rules, facts["image"]).video([])
    noted = Noted(video)
    monkeypatch.setattr(video, "track", noted.track)
    found: Weights = {"frames": expected["frames"], "given": expected["given"]}
    labels, remembered = [], []
    given = iter(expected["given"])
    for number, pixels in zip(numbers, expected["frames"], strict=True):
        image = canvas.image(pixels.numpy())[None]
        masks = None
        if str(number) in clip["masks"]:
            shown = next(given)
            masks = torch.stack(
                [shown == n for n in range(len(video.rows) + 1, int(shown.max()) + 1)]
            )
        video.step(image, masks, sizes=torch.tensor([facts["frame"]]))
        noted.found[-1]["canvas"] = image[..., ::14, ::14]
        labels.append(label_map(noted.tracked[-1].masks, facts["frame"]))
        remembered += [memory_of(row.memory) for row in video.rows]
    for number, values in enumerate(noted.found):
        masks = f"frame{number}/masks"
        assert flips(values.pop("masks"), expected.pop(masks)) <= FLIPPED
        found |= {f"frame{number}/{n}": value for n, value in values.items()}
    wrong = (torch.stack(labels) != expected.pop("label_maps")).flatten(1).sum(1)
    assert wrong.max() <= FLIPPED
    assert_close(found, expected, TOLERANCES)
    for ours, theirs in zip(remembered, memories_told(case, name), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)


def label_map(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """As the released program writes it: the last object of all has a pixel, nearest."""
    labels = torch.zeros(masks.shape[1:])
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return F.interpolate(labels[None, None], tuple(size))[0, 0].byte()


def memory_of(memory: ObjectMemory) -> list[float]:
    """Numbers and scores of its frames, the first one's number before them."""
    frames = sorted((frame.number, frame.score) for frame in memory.others)
    return [memory.first.number, *(value for frame in frames for value in frame)]


def memories_told(case: SineCase, name: str) -> list[list[float]]:
    """After each frame, of each object, as `memory_of` has it."""
    meta = case.golden.json("sine_vos.json")["meta"]
    told = next(value for key, value in meta.items() if key.startswith(f"{name}: memory after"))
    # a new object is told of twice on its first frame: when it begins, and when it is found there
    last = {}
    for place, (first, now, frames) in enumerate(told):
        rows = sorted((number, score) for number, score, _ in frames)
        last[place] = (first, now, [first, *(value for row in rows for value in row)])
    return [values for first, now, values in last.values() if first != now or len(values) > 1]


def test_which_frames_are_remembered(case: SineCase):
    told = case.golden.json("protocol.json")["memory"]
    (start, score), *updates = told["updates [frame, score]"]
    nothing = MaskedSums(torch.zeros(1), torch.zeros(()))
    for variant in told["variants"]:
        options = variant["options"]
        rules = MemoryRules(
            options["memory_len"],
            DECAYS[options["memory_decay_type"]],
            options["memory_decay_ratio"],
            options["fix_first_frame"],
            options.get("fix_last_frame", False),
        )
        memory = ObjectMemory(rules, RememberedFrame(start, score, nothing))
        steps = [[f"{start}:{score}"]]
        for number, one in updates:
            memory.add(RememberedFrame(number, one, nothing))
            steps.append(sorted(f"{frame.number}:{frame.score}" for frame in memory.frames))
        assert steps == variant["memory after each update"], options
