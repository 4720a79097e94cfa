"""The video model: a labelled image, then a clip, with the memory of SAM 2."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from model.checkpoint import load_model, model_options
from model.dc_sam.config import ModelOptions
from model.dc_sam.released_names import import_release
from model.dc_sam.video import RELEASE_VIDEO, DcSamVideo, FramePrediction, RunningVideo
from model.sam.adapters import adapter_names

TOLERANCE = 1e-4
TRACKED_TOLERANCE, TRACKED_MEAN_TOLERANCE = 2e-3, 1e-4
"""Of logits of tracked frames: memories are rounded to bfloat16 between frames."""
MEMORY_TOLERANCE = 1e-2
"""Of features that were read from memories, which are twice as far from the result."""

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def expected(golden_file) -> Weights:
    return load_file(golden_file("sam2_video.safetensors"))


@pytest.fixture(scope="module")
def model(case, tmp_path_factory) -> DcSamVideo:
    """From a file as the release saves it, without any other file."""
    path = tmp_path_factory.mktemp("released") / "best.pt"
    torch.save(case.weights("dcsam2_video_hiera_tiny_resnet50"), path)
    image_model, facts = load_model(path, torch.device("cpu"))
    path.unlink()
    assert model_options(facts, path) == ModelOptions(
        backbone="resnet50", sam_version=2, sam_model="sam2.1_hiera_t", wiring="release"
    )
    return DcSamVideo.from_image_model(image_model, RELEASE_VIDEO)


@pytest.fixture(scope="module")
def run(case, model) -> tuple[Weights, list[FramePrediction]]:
    """What the file holds, and the predictions."""
    frames = case.rule.clip(f"{case.prefix}input/clip", case.clip_frames)[0]
    notes: Weights = {}
    heads, memories = [], []
    decode, remember, ask = model.segmenter.decode_all, model.segmenter.remember, model.prompts

    def note_decode(features, tokens):
        decoded = decode(features, tokens)
        heads.append((features, decoded))
        return decoded

    def note_memory(*arguments):
        memory = remember(*arguments)
        memories.append(memory)
        return memory

    def note_prompts(*arguments):
        refined, pseudo_logits = ask(*arguments)
        notes.update(pos2=refined[0], neg2=refined[1])
        pseudo = (pseudo_logits > 0).float().unsqueeze(1)
        notes["pre_mask_nearest64"] = F.interpolate(pseudo, (64, 64), mode="nearest")
        return refined, pseudo_logits

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(model.segmenter, "decode_all", note_decode)
        patch.setattr(model.segmenter, "remember", note_memory)
        patch.setattr(model, "prompts", note_prompts)
        support = case.image("support_img")[:1], case.support_masks[:1]
        concept = model.learn(support[0][:, None], support[1][:, None])
        video = RunningVideo(model, [concept], length=len(frames))
        found = [video.step(frame[None]) for frame in frames]

    notes |= {
        "pos1": concept.contexts[0].prompts,
        "neg1": concept.contexts[1].prompts,
        "prototype": concept.contexts[0].prototype,
    }
    for number, (features, decoded) in enumerate(heads):
        notes[f"heads{number}/backbone_feat_s"] = features.embedding[:, ::8, ::4, ::4]
        logits = model.segmenter.select(decoded, fallback=True)[0]
        notes[f"heads{number}/low_res_stride4"] = logits[..., ::4, ::4]
    for number, memory in enumerate(memories):
        # the first heads drew the pseudo mask, which is not remembered
        notes[f"heads{number + 1}/obj_ptr"] = memory.pointer
        notes[f"mem{number}/maskmem_features_s"] = memory.features[:, ::4, ::4, ::4]
    logits = torch.stack([one.logits for one in found], dim=1)
    notes["logits_avg128"] = F.avg_pool2d(logits, 4)
    notes["logits_stride4"] = logits[..., ::4, ::4]
    return notes, found


def assert_close(found: Weights, expected: Weights, names: list[str], tolerance: float) -> None:
    for name in names:
        assert found[name].shape == expected[name].shape, name
        difference = (found[name] - expected[name]).abs().max().item()
        assert difference <= tolerance, f"{name} differs by {difference:.2e}"


def test_the_first_frame_is_prompted_alike(expected, run):
    names = ["pos1", "neg1", "prototype", "pos2", "neg2"]
    names += [f"heads{n}/{part}" for n in (0, 1) for part in ("backbone_feat_s", "low_res_stride4")]
    assert torch.equal(run[0]["pre_mask_nearest64"], expected["pre_mask_nearest64"])
    assert_close(run[0], expected, [*names, "heads1/obj_ptr", "mem0/maskmem_features_s"], TOLERANCE)


def test_the_following_frames_are_tracked_alike(expected, run, case):
    for frame in range(1, case.clip_frames):
        heads, memory = f"heads{frame + 1}", f"mem{frame}/maskmem_features_s"
        assert_close(run[0], expected, [f"{heads}/backbone_feat_s", memory], MEMORY_TOLERANCE)
        names = [f"{heads}/low_res_stride4", f"{heads}/obj_ptr"]
        assert_close(run[0], expected, names, TRACKED_TOLERANCE)


def test_logits_of_all_frames_agree(expected, run):
    names = ["logits_avg128", "logits_stride4"]
    assert_close(run[0], expected, names, TRACKED_TOLERANCE)
    for name in names:
        assert_close({name: run[0][name][:, :1]}, {name: expected[name][:, :1]}, [name], TOLERANCE)
        assert (run[0][name] - expected[name]).abs().mean() < TRACKED_MEAN_TOLERANCE


def test_the_object_score_is_that_of_the_release(golden_file, run):
    heads = json.loads(golden_file("sam2_video.json").read_text())["meta"]["heads"]
    scores = [one.object_logit.item() for one in run[1]]
    assert scores == pytest.approx([head["obj_score"][0] for head in heads[1:]], abs=TOLERANCE)
    quality = [one.quality.item() for one in run[1]]
    assert quality == pytest.approx([head["iou"][0] for head in heads[1:]], abs=TOLERANCE)


def test_adapters_of_the_release_go_beside_the_layers_they_adapt(case):
    shapes = case.names("dcsam2_video_hiera_tiny_resnet50_lora")
    state = {name: torch.zeros(()).expand(shape) for name, (shape, _) in shapes.items()}
    options, weights = import_release(state, "golden")
    assert options.sam_model == "sam2.1_hiera_t"
    assert len(weights) == len(state)
    assert len(adapter_names(weights)) == 64
    query = "segmenter.network.memory_attention.layers.0.self_attn.q_proj."
    assert weights[f"{query}base_layer.weight"].shape == (256, 256)
    assert weights[f"{query}lora_A.default.weight"].shape == (8, 256)
