import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval_video
from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.cli import run_script
from common.video_io import FrameReader
from tests.helpers import save_tiny_checkpoint
from tests.video_cases import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    mask_of,
    numbers,
    read,
    save_checkpoint_of_videos,
    slow_scores,
    square,
    write_coco,
    write_icvos,
)


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("Datasets"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_checkpoint_of_videos(tmp_path_factory.mktemp("model") / "last.safetensors")


@pytest.fixture(scope="module")
def icvos(tmp_path_factory) -> Path:
    """Videos that no test changes."""
    return write_icvos(tmp_path_factory.mktemp("data") / "IC-VOS")


@pytest.fixture(scope="module")
def flags(checkpoint, coco, icvos):
    return (
        *("--ckpt", checkpoint, "--coco_path", coco, "--icvos_path", icvos),
        *("--device", "cpu", "--sheet_rows", 2),
    )


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory) -> Path:
    """The folder of a finished evaluation, which no test changes."""
    folder = tmp_path_factory.mktemp("evaluated") / "out"
    given = (*flags, "--save_masks", "--save_overlays", "--output", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["eval_video.py", *map(str, given)])
        assert run_script(eval_video.main) == 0
    return folder


def test_scores_are_those_of_the_masks_that_were_written(whole):
    records = {record["item"]: record for record in read(whole, "items.jsonl")}
    assert list(records) == ["a pair/1", "a pair/3", "one/1", "two/3"]
    found_any = False
    for name, record in records.items():
        video, _, class_id = name.partition("/")
        frames = []
        for number in range(FRAMES):
            found = mask_of(whole / "masks" / video / "Annotations" / class_id / f"{number:05}.png")
            truth = square(CLASSES[video][int(class_id)], number)
            frames.append(slow_scores(found == 1, truth, np.zeros_like(truth)))
            found_any = found_any or bool(found.any())
        for scores, kept in (
            (record["original_size"], frames),
            (record["original_size"]["present_frames"], [*frames[:3], frames[4]]),
        ):
            j, f = np.mean(kept, axis=0)
            assert scores["j"] == pytest.approx(j)
            assert scores["f"] == pytest.approx(f)
            assert scores["jf"] == pytest.approx((j + f) / 2)
        assert record["at_64x64"]["jf"] == record["jf"]
    assert found_any

    results = read(whole)
    assert results["items"] == 4
    assert results["failed"] == {}
    mean = np.mean([record["jf"] for record in records.values()])
    assert results["jf"] == pytest.approx(mean)
    assert results["intervals"]["at_64x64"]["value"] == pytest.approx(mean)
    interval = results["intervals"]["original_size"]
    assert interval["low"] <= results["original_size"]["jf"] <= interval["high"]
    people = np.mean([records[name]["jf"] for name in ("a pair/1", "one/1")])
    assert results["per_class"]["person"]["jf"] == pytest.approx(people)
    assert results["per_source"]["DAVIS"]["original_size"] == records["one/1"]["original_size"]
    assert results["per_source"]["MOSE"]["items"] == 3
    assert FrameReader(whole / "overlays" / "a pair" / "3.mp4").size == (HEIGHT, WIDTH)
    with Image.open(whole / "contact_sheet.png") as sheet:
        assert sheet.height > 4 * 192  # two items, truth and prediction


def test_an_item_is_scored_alike_alone_and_beside_another(script, flags, whole, tmp_path):
    root = write_icvos(tmp_path / "IC-VOS")
    shutil.rmtree(root / "a pair" / "Annotations" / "1")
    outcome = script(eval_video, *flags, "--icvos_path", root, "--output", tmp_path / "alone")
    assert outcome.code == 0, outcome.error
    both, alone = (
        {record["item"]: record for record in read(folder, "items.jsonl")}["a pair/3"]
        for folder in (whole, tmp_path / "alone")
    )
    assert both["support"] == alone["support"]
    assert both["jf"] == pytest.approx(alone["jf"], abs=0.5)


def test_an_interrupted_evaluation_goes_on(script, flags, whole, tmp_path, monkeypatch):
    parts = tmp_path / "parts"
    evaluate, seen = eval_video.evaluate_items, []

    def stop_at_the_second(names, *given):
        seen.append(names)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return evaluate(names, *given)

    monkeypatch.setattr(eval_video, "evaluate_items", stop_at_the_second)
    assert script(eval_video, *flags, "--output", parts).code == 130
    with (parts / "items.jsonl").open("a") as file:
        file.write('{"item": "one/1", "jf": 9')  # killed while it wrote
    seen.append([])
    assert script(eval_video, *flags, "--output", parts).code == 0

    assert seen == [["a pair/1", "a pair/3"], ["one/1"], [], ["one/1"], ["two/3"]]
    assert numbers(parts) == numbers(whole)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("--prompt_every", 2), "other settings (prompt_every)"),
        (("--seed", 1), "other supports"),
    ],
)
def test_results_of_other_settings_or_supports_are_not_mixed(script, flags, whole, changed, words):
    same = ("--save_masks", "--save_overlays", "--output", whole)
    outcome = script(eval_video, *flags, *same, *changed)
    assert outcome.code == 2
    assert words in outcome.error


def test_supports_from_a_file_are_used_again_with_their_seed(script, flags, whole, tmp_path):
    given = ("--supports", whole / "supports.jsonl", "--seed", 1, "--max_frames", 1)
    outcome = script(eval_video, *flags, *given, "--output", tmp_path)
    assert outcome.code == 0, outcome.error
    for name in ("supports_sha256", "seed"):
        assert read(tmp_path)[name] == read(whole)[name]
    supports = [read(folder, "items.jsonl")[0]["support"] for folder in (tmp_path, whole)]
    assert supports[0] == supports[1]


@pytest.mark.slow
def test_two_processes_give_the_same_numbers(torchrun, flags, whole, tmp_path):
    torchrun(2, "eval_video.py", *flags, "--output", tmp_path)
    assert numbers(tmp_path) == numbers(whole)
    assert not list(tmp_path.glob("items-*"))


MASK = "Annotations/1"
DAMAGES = {
    "missing mask": f"{MASK}/00002.png",
    "cut frame": "JPEGImages/00003.jpg",
    "cut mask": f"{MASK}/00004.png",
    "other size": "JPEGImages/00001.jpg",
    "no frame": "JPEGImages",
    "empty masks": "annotation without the class",
    "no image": "0 images of class 80",
    "no masks": "Annotations",
}
"""What is wrong with a video -> what the message names."""


def damage(video: Path) -> None:
    """Break a video in the way that its name says."""
    path = video / DAMAGES[video.name]
    match video.name:
        case "missing mask":
            path.unlink()
        case "cut frame" | "cut mask":
            path.write_bytes(path.read_bytes()[:40])
        case "other size":
            Image.new("RGB", (32, 32)).save(path)
        case "no frame" | "no masks":
            shutil.rmtree(path)
            (video / "JPEGImages").mkdir(exist_ok=True)
        case "empty masks":
            for mask in (video / MASK).iterdir():
                Image.new("L", (WIDTH, HEIGHT)).save(mask)
        case "no image":
            (video / MASK).rename(video / "Annotations" / "80")


def test_bad_items_are_named_the_others_scored_and_they_are_tried_again(
    script, flags, whole, tmp_path
):
    root, out = write_icvos(tmp_path / "IC-VOS"), tmp_path / "out"
    for name in DAMAGES:
        shutil.copytree(root / "one", root / name)
        damage(root / name)
    given = (*flags, "--icvos_path", root, "--save_overlays", "--output", out)

    outcome = script(eval_video, *given)

    assert outcome.code == 1
    assert f"{len(DAMAGES)} failed" in outcome.output
    assert "Traceback" not in outcome.error
    assert not [path for path in out.rglob(".*") if path.suffix == ".mp4"]
    results = read(out)
    assert results["items"] == 4
    reasons = {item.partition("/")[0]: reason for item, reason in results["failed"].items()}
    for name, named in DAMAGES.items():
        assert named in reasons[name]
        assert [line for line in outcome.error.splitlines() if named in line]
    good = [record for record in read(out, "items.jsonl") if "error" not in record]
    assert good == read(whole, "items.jsonl")

    for name in DAMAGES:
        shutil.rmtree(root / name)
        if name == "cut mask":
            shutil.copytree(root / "one", root / name)
    outcome = script(eval_video, *given)
    assert outcome.code == 0, outcome.error
    assert read(out)["items"] == 5


def test_results_say_whether_the_classes_were_seen(script, checkpoint, icvos, tmp_path):
    facts, weights = read_facts(checkpoint), read_weights(checkpoint)
    # coco fold 0 tests person (1), boat (9), ...: of person and car, only car (3) is trained on
    for name, data in {
        "all": {"benchmark": "coco_mask_tube", "fold": None},
        "fold": {"benchmark": "coco", "fold": 0},
    }.items():
        save_checkpoint(tmp_path / f"{name}.safetensors", weights, {**facts, "data": data})
    given = ("--icvos_path", icvos, "--first_frame", "oracle", "--max_frames", 1)
    found = {}
    for ckpt in (checkpoint, tmp_path / "all.safetensors", tmp_path / "fold.safetensors"):
        out = tmp_path / f"out {ckpt.stem}"
        outcome = script(eval_video, "--ckpt", ckpt, *given, "--device", "cpu", "--output", out)
        assert outcome.code == 0, outcome.error
        found[ckpt.stem] = read(out)
        assert found[ckpt.stem]["exposure"] in outcome.output
    assert {name: results["exposure"] for name, results in found.items()} == {
        "last": "unknown",
        "all": "in-domain",
        "fold": "in-domain",
    }
    assert found["all"]["seen_classes"] == ["person", "car"]
    assert found["fold"]["seen_classes"] == ["car"]


def test_the_masks_of_a_method_without_memory_are_carried_on(script, icvos, coco, tmp_path):
    ckpt = save_tiny_checkpoint(tmp_path / "one.safetensors", version=1)
    data = ("--icvos_path", icvos, "--coco_path", coco, "--max_frames", 2, "--device", "cpu")
    alone = script(eval_video, "--ckpt", ckpt, *data)
    assert alone.code == 2
    assert "dc_sam has no memory: --sam2_cfg names the SAM 2" in alone.error

    out = tmp_path / "out"
    outcome = script(eval_video, "--ckpt", ckpt, "--sam2_cfg", "tiny", *data, "--output", out)
    assert outcome.code == 0, outcome.error
    assert read(out)["items"] > 0


def test_sam2_may_carry_on_the_masks_of_a_method_with_a_memory_and_padded_frames(
    script, icvos, coco, tmp_path
):
    flags = ("--icvos_path", icvos, "--coco_path", coco, "--max_frames", 2, "--device", "cpu")
    found = {}
    for name, given in (("alone", ()), ("sam2", ("--sam2_cfg", "tiny"))):
        method = ("--method", "persam", "--sam_model", "tiny", *given)
        outcome = script(eval_video, *method, *flags, "--output", tmp_path / name)
        assert outcome.code == 0, outcome.error
        assert read(tmp_path / name)["items"] == 4
        found[name] = read(tmp_path / name)
    assert (found["alone"]["sam2"], found["sam2"]["sam2"]) == (None, "tiny")


def test_wrong_flags_are_explained(script, flags, checkpoint, tmp_path):
    outcome = script(eval_video, "--nshot", 11, "--sam2_checkpoint", "nowhere")
    assert outcome.code == 2
    for words in ("--nshot must be from 1 to 10", "no such file: nowhere"):
        assert words in outcome.error
    untrained = ("--method", "sansa", "--sam_model", "tiny")
    for given, words in (
        ((), "give --ckpt, --method, or --sam2_cfg"),
        ((*flags, *untrained), "give --ckpt or --method, not both"),
        ((*untrained, "--sam2_cfg", "tiny", "--first_frame", "oracle"), "sansa has no part in it"),
        (("--sam2_cfg", "tiny"), "takes no support"),
        ((*flags, "--first_frame", "nowhere"), "neither prompt nor oracle nor a folder"),
        (("--ckpt", checkpoint, "--first_frame", "oracle", "--prompt_every", 2), "needs a support"),
        ((*flags, "--icvos_path", tmp_path / "nowhere"), "no such folder of IC-VOS"),
        ((*flags, "--coco_path", tmp_path / "nowhere"), "no such folder"),
    ):
        outcome = script(eval_video, *given, "--output", tmp_path / "out")
        assert outcome.code == 2
        assert words in outcome.error


REAL = Path(__file__).parents[2] / "shared" / "real"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real videos in {REAL}")
@pytest.mark.parametrize(
    ("given", "items"),
    [
        (("--icvos_path", REAL / "IC-VOS", "--coco_path", REAL, "--max_frames", 3), 3),
        (("--benchmark", "davis", "--davis_path", REAL / "DAVIS", "--max_frames", 4), 2),
    ],
    ids=["icvos", "davis"],
)
def test_real_videos(script, checkpoint, tmp_path, given, items):
    common = ("--ckpt", checkpoint, "--device", "cpu", "--output", tmp_path / "out")
    outcome = script(eval_video, *given, *common)
    assert outcome.code == 0, outcome.error
    results = read(tmp_path / "out")
    assert (results["items"], results["failed"]) == (items, {})
    assert 0 <= results["jf"] <= 100
