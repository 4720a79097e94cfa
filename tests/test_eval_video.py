import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import eval_video
from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.cli import run_script
from common.video_io import FrameReader
from tests.helpers import save_tiny_checkpoint

FRAMES, HEIGHT, WIDTH = 5, 48, 64
CLASSES = {"a pair": {1: 8, 3: 30}, "one": {1: 20}, "two": {3: 4}}
"""Video -> class id -> where its square begins."""
PRESENCE = "segmenter.network.sam_mask_decoder.pred_obj_score_head.layers.2.bias"


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """Three pictures of persons and three of cars."""
    root = tmp_path_factory.mktemp("Datasets") / "COCO2014"
    for number, class_id in enumerate((1, 3) * 3):
        mask = np.zeros((64, 96), np.uint8)
        mask[4:60, 2 + 5 * number : 60 + 5 * number] = class_id
        picture = np.where(mask[..., None], (200, 50, 30), (40, 90, 20 * number)).astype(np.uint8)
        for folder, pixels, suffix in (("", picture, "jpg"), ("annotations", mask, "png")):
            path = root / folder / "val2014" / f"COCO_val2014_{number:012}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root.parent


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """An untrained model that takes every object for present, so that masks are not all empty."""
    path = tmp_path_factory.mktemp("model") / "last.safetensors"
    save_tiny_checkpoint(path, 2, random_weights=False, position="sam")
    weights = read_weights(path) | {PRESENCE: torch.tensor([20.0])}
    save_checkpoint(path, weights, read_facts(path))
    return path


def square(left: int, frame: int) -> np.ndarray:
    """A square that moves to the right and is not there in frame 3."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if frame != 3:
        mask[10:26, left + 3 * frame : left + 3 * frame + 16] = True
    return mask


def write_frames(folder: Path, masks: list[np.ndarray]) -> None:
    """Pictures with a red object on green ground."""
    folder.mkdir(parents=True)
    for number, mask in enumerate(masks):
        picture = np.where(mask[..., None], (220, 40, 40), (60, 120, 60)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:05}.jpg")


def write_masks(folder: Path, masks: dict[int, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{number:05}.png")


def write_icvos(root: Path) -> Path:
    for name, classes in CLASSES.items():
        tubes = [[square(left, n) for left in classes.values()] for n in range(FRAMES)]
        write_frames(root / name / "JPEGImages", [np.any(masks, axis=0) for masks in tubes])
        for place, class_id in enumerate(classes):
            masks = {n: tubes[n][place] for n in range(FRAMES)}
            write_masks(root / name / "Annotations" / str(class_id), masks)
    (root / "sources.json").write_text('{"one": "DAVIS", "two": "MOSE", "a pair": "MOSE"}')
    return root


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


def read(folder: Path, name: str = "results.json"):
    text = (folder / name).read_text()
    return json.loads(text) if name.endswith("json") else [*map(json.loads, text.splitlines())]


def numbers(folder: Path) -> tuple[dict, list]:
    """Everything but what a run cannot repeat, and what it was asked to write."""
    results = read(folder)
    for name in ("seconds", "version", "data", "save_masks", "save_overlays"):
        del results[name]
    return results, read(folder, "items.jsonl")


def slow_scores(found: np.ndarray, truth: np.ndarray, ignore: np.ndarray) -> tuple[float, float]:
    """J and F of a frame in percent, by the distances of all pairs of boundary pixels."""
    found, truth = found & ~ignore, truth & ~ignore
    union = (found | truth).sum()
    region = (found & truth).sum() / union if union else 1.0

    def boundary(mask: np.ndarray) -> np.ndarray:
        rows, columns = mask.shape
        return np.array(
            [
                (y, x)
                for y in range(rows)
                for x in range(columns)
                if len(np.unique(mask[y : y + 2, x : x + 2])) > 1
            ]
        ).reshape(-1, 2)

    mine, real = boundary(found), boundary(truth)
    if not len(mine) or not len(real):
        return 100 * region, 100.0 * (len(mine) == len(real))
    near = np.linalg.norm(mine[:, None] - real[None], axis=2) <= math.ceil(
        0.008 * math.hypot(*truth.shape)
    )
    precision, recall = near.any(1).mean(), near.any(0).mean()
    total = precision + recall
    return 100 * region, 200 * precision * recall / total if total else 0.0


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.array(image)


def test_scores_are_those_of_the_masks_that_were_written(whole):
    out = whole
    records = {record["item"]: record for record in read(out, "items.jsonl")}
    assert list(records) == ["a pair/1", "a pair/3", "one/1", "two/3"]
    found_any = False
    for name, record in records.items():
        video, _, class_id = name.partition("/")
        frames = []
        for number in range(FRAMES):
            found = mask_of(out / "masks" / video / "Annotations" / class_id / f"{number:05}.png")
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

    results = read(out)
    assert results["items"] == 4
    assert results["failed"] == {}
    mean = np.mean([record["jf"] for record in records.values()])
    assert results["jf"] == pytest.approx(mean)
    people = np.mean([records[name]["jf"] for name in ("a pair/1", "one/1")])
    assert results["per_class"]["person"]["jf"] == pytest.approx(people)
    assert results["per_source"]["DAVIS"]["original_size"] == records["one/1"]["original_size"]
    assert results["per_source"]["MOSE"]["items"] == 3
    assert FrameReader(out / "overlays" / "a pair" / "3.mp4").size == (HEIGHT, WIDTH)
    with Image.open(out / "contact_sheet.png") as sheet:
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


def test_a_true_first_frame_scores_full_marks_there(script, checkpoint, icvos, tmp_path):
    outcome = script(
        eval_video,
        *("--ckpt", checkpoint, "--icvos_path", icvos, "--coco_path", "nowhere"),
        *("--first_frame", "oracle", "--max_frames", 1, "--output", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    results = read(tmp_path / "out")
    assert (results["j"], results["f"], results["original_size"]["jf"]) == (100, 100, 100)
    assert results["supports_sha256"] is None


def write_first_masks(folder: Path) -> Path:
    """The true masks of all first frames, as another program would write them."""
    for video, classes in CLASSES.items():
        for class_id, left in classes.items():
            write_masks(
                folder / video / "Annotations" / str(class_id), {0: square(left, 0) * np.uint8(255)}
            )
    return folder


@pytest.fixture(scope="module")
def given_flags(checkpoint, icvos):
    return ("--ckpt", checkpoint, "--icvos_path", icvos, "--device", "cpu", "--sheet_rows", 1)


def test_true_masks_in_a_folder_are_the_oracle(script, given_flags, tmp_path):
    folder = write_first_masks(tmp_path / "first")
    for name, first in (("oracle", "oracle"), ("folder", folder)):
        outcome = script(
            eval_video, *given_flags, "--first_frame", first, "--output", tmp_path / name
        )
        assert outcome.code == 0, outcome.error
    oracle, given = (numbers(tmp_path / name) for name in ("oracle", "folder"))
    assert (oracle[0].pop("first_frame"), given[0].pop("first_frame")) == ("oracle", str(folder))
    assert oracle[0] == given[0]
    assert [record.pop("first_mask") for record in oracle[1]] == [None] * 4
    assert all(len(record.pop("first_mask")) == 64 for record in given[1])
    assert oracle[1] == given[1]


def test_a_given_mask_is_its_own_result(script, given_flags, tmp_path):
    folder = write_first_masks(tmp_path / "first")
    wrong = square(CLASSES["one"][1] + 4, 0)
    Image.fromarray(wrong.astype(np.uint8)).save(folder / "one" / "Annotations" / "1" / "00000.png")
    Image.new("L", (WIDTH, HEIGHT)).save(folder / "two" / "Annotations" / "3" / "00000.png")
    flags = ("--first_frame", folder, "--max_frames", 1, "--save_masks")
    outcome = script(eval_video, *given_flags, *flags, "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    records = {record["item"]: record for record in read(tmp_path / "out", "items.jsonl")}
    assert records["a pair/1"]["original_size"]["jf"] == 100
    assert records["one/1"]["original_size"]["j"] == pytest.approx(100 * 12 / 20)
    assert records["two/3"]["original_size"]["jf"] == 0
    written = mask_of(tmp_path / "out" / "masks" / "one" / "Annotations" / "1" / "00000.png")
    assert np.array_equal(written, wrong)


def test_missing_and_wrong_given_masks_are_named_by_item(script, given_flags, tmp_path):
    folder = write_first_masks(tmp_path / "first")
    missing = folder / "one" / "Annotations" / "1" / "00000.png"
    missing.unlink()
    small = folder / "a pair" / "Annotations" / "3" / "00000.png"
    Image.new("L", (WIDTH // 2, HEIGHT)).save(small)
    flags = (*given_flags, "--first_frame", folder, "--output", tmp_path / "out")

    outcome = script(eval_video, *flags)

    assert outcome.code == 1
    failed = read(tmp_path / "out")["failed"]
    assert set(failed) == {"one/1", "a pair/3"}
    assert str(missing) in failed["one/1"]
    assert str(small) in failed["a pair/3"]
    assert "sizes differ" in failed["a pair/3"]

    write_first_masks(tmp_path / "again")
    for path in (missing, small):
        path.write_bytes((tmp_path / "again" / path.relative_to(folder)).read_bytes())
    assert script(eval_video, *flags).code == 0  # the failed items are tried again
    small.write_bytes(missing.read_bytes())
    outcome = script(eval_video, *flags)
    assert outcome.code == 2
    assert "other first masks (a pair/3)" in outcome.error


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
        assert found[ckpt.stem]["classes"] in outcome.output
    assert {name: results["classes"] for name, results in found.items()} == {
        "last": "data unknown",
        "all": "seen",
        "fold": "seen",
    }
    assert found["all"]["seen_classes"] == ["person", "car"]
    assert found["fold"]["seen_classes"] == ["car"]


def labels_of(frame: int) -> np.ndarray:
    """Two objects side by side, the second one from frame 1 on, and pixels of value 255."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[8:28, 6 + frame : 26 + frame] = 1
    if frame:
        labels[8:28, 26 + frame : 44 + frame] = 2
    labels[26:30] = 255
    return labels


@pytest.mark.parametrize("void", [False, True], ids=["background", "void"])
@pytest.mark.parametrize(
    ("layout", "scored"), [("davis", {1: [1, 2, 3], 2: [2, 3]}), ("lvos", {1: [2, 4], 2: [4]})]
)
def test_objects_whose_masks_are_given(script, tmp_path, checkpoint, layout, scored, void):
    labels = {number: labels_of(number) for number in range(FRAMES)}
    if layout == "davis":
        root = tmp_path / "DAVIS"
        frames, masks = root / "JPEGImages/480p/clip", root / "Annotations/480p/clip"
        (root / "ImageSets" / "2017").mkdir(parents=True)
        (root / "ImageSets" / "2017" / "val.txt").write_text("clip\n")
    else:  # every other frame is annotated, so that the second object is first seen in frame 2
        root = tmp_path / "LVOS"
        frames, masks = root / "val/JPEGImages/clip", root / "val/Annotations/clip"
        labels = {number: labels[number] for number in (0, 2, 4)}
    write_frames(frames, [labels_of(number) == 1 for number in range(FRAMES)])
    write_masks(masks, labels)
    out, given = tmp_path / "out", 1 if layout == "davis" else 2

    outcome = script(
        eval_video,
        *("--benchmark", layout, f"--{layout}_path", root, "--ckpt", checkpoint),
        *("--device", "cpu", "--save_masks", "--save_overlays", "--output", out),
        *(("--void",) if void else ()),
    )

    assert outcome.code == 0, outcome.error
    assert "classes" not in read(out)
    found = [mask_of(out / "masks" / "clip" / f"{n:05}.png") for n in range(FRAMES)]
    assert np.array_equal(found[0] == 1, labels[0] == 1)
    assert not any((mask == 2).any() for mask in found[:given])
    assert np.array_equal(found[given] == 2, labels[given] == 2)
    assert {n for mask in found for n in np.unique(mask).tolist()} == {0, 1, 2}
    [record] = read(out, "items.jsonl")
    expected = []
    for label, numbers_of_frames in scored.items():
        j, f = np.mean(
            [
                slow_scores(found[n] == label, labels[n] == label, void & (labels[n] == 255))
                for n in numbers_of_frames
            ],
            axis=0,
        )
        scores = record["objects"][str(label)]
        assert (scores["j"], scores["f"]) == (pytest.approx(j), pytest.approx(f))
        expected.append((j + f) / 2)
    assert read(out)["jf"] == pytest.approx(np.mean(expected))


def test_the_original_sam2_runs_by_the_same_command(script, icvos, tmp_path):
    outcome = script(
        eval_video,
        *("--sam2_cfg", "configs/tiny.yaml", "--icvos_path", icvos, "--first_frame", "oracle"),
        *("--image_size", 64, "--device", "cpu", "--output", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    results = read(tmp_path / "out")
    assert results["items"] == 4
    assert "at_64x64" in results


def test_wrong_flags_are_explained(script, flags, checkpoint, tmp_path):
    outcome = script(eval_video, "--nshot", 11, "--sam2_checkpoint", "nowhere")
    assert outcome.code == 2
    for words in ("--nshot must be from 1 to 10", "give --ckpt", "no such file: nowhere"):
        assert words in outcome.error
    for given, words in (
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
