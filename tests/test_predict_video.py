import json
import re

import av
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

import predict
from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.video_io import FrameReader, VideoWriter
from labelling.label_folder import VideoResults
from model.predictor import InContextSegmenter
from tests.helpers import coloured_cells, save_reference, save_tiny_checkpoint

FRAMES, HEIGHT, WIDTH = 4, 50, 70


def save_untrained(path, version):
    """A tiny model that was never trained; with SAM 2 it takes every object for present."""
    save_tiny_checkpoint(path, version)
    if version == 2:
        head = "segmenter.network.sam_mask_decoder.pred_obj_score_head.layers.2"
        weights = read_weights(path) | {f"{head}.bias": torch.tensor([3.0])}
        save_checkpoint(path, weights, read_facts(path))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("checkpoint") / "last.safetensors", 2)


def write_video(path, seed, count=FRAMES):
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, 12) as writer:
        for number in range(count):
            writer.write(coloured_cells(seed + number))
    return path


def write_frames(folder, seed):
    folder.mkdir(parents=True)
    for number in range(FRAMES):
        Image.fromarray(coloured_cells(seed + number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def flags(checkpoint, tmp_path):
    """Flags to label a video from one reference, into the folder `out`."""
    write_video(tmp_path / "clips" / "walk.mp4", 10)
    return (
        *("--ckpt", checkpoint, "--device", "cpu", "--output", tmp_path / "out"),
        *save_reference(tmp_path),
        *("--target", tmp_path / "clips"),
    )


def read_labels(path):
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.array(image)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".mp4"
    }


def test_a_video_gets_the_masks_and_scores_of_the_api(script, flags, checkpoint, tmp_path):
    outcome = script(predict, *flags, "--prompt_every", 2)
    assert outcome.code == 0, outcome.error
    assert "1 labelled" in outcome.output
    assert "walk: 100%" in outcome.error
    out = tmp_path / "out"
    segmenter = InContextSegmenter.from_checkpoint(checkpoint, device="cpu")
    with (
        Image.open(tmp_path / "reference.png") as image,
        Image.open(tmp_path / "mask.png") as mask,
    ):
        concept = segmenter.learn(image, mask)
    found = list(segmenter.segment_video(tmp_path / "clips" / "walk.mp4", concept, 2))

    assert len(found) == len(list((out / "masks" / "walk").iterdir())) == FRAMES
    record = json.loads((out / "records" / "walk.json").read_text())
    for number, (mask, score) in enumerate(found):
        assert 0 < mask.mean() < 1
        assert np.array_equal(read_labels(out / "masks" / "walk" / f"{number:05d}.png"), mask)
        image = record["frames"][number]["image"]
        assert image["score"]["object"] == pytest.approx(score, abs=1e-4)
    with FrameReader(out / "overlays" / "walk.mp4") as overlay:
        assert (overlay.count, overlay.size, overlay.frames_per_second) == (
            FRAMES,
            (HEIGHT, WIDTH),
            12,
        )
    coco = COCO(out / "coco.json")
    images = coco.loadImgs(coco.getImgIds())
    assert [image["frame"] for image in images] == list(range(FRAMES))
    assert {image["file_name"] for image in images} == {"walk.mp4"}  # no frame is a file
    for image_id, (mask, _) in enumerate(found, start=1):
        [annotation] = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert np.array_equal(coco.annToMask(annotation), mask)


def test_a_folder_is_photographs_or_where_asked_frames(script, flags, tmp_path):
    write_frames(tmp_path / "clips" / "run", 30)
    flags = (*flags, "--target", tmp_path / "clips" / "run", "--no_overlays")
    photographs = script(predict, *flags)
    assert photographs.code == 0, photographs.error
    masks = tmp_path / "out" / "masks"
    assert sorted(path.name for path in masks.iterdir()) == ["run", "walk"]
    assert len(list((tmp_path / "out" / "records").rglob("*.json"))) == 1 + FRAMES

    outcome = script(predict, *flags, "--frames", "--output", tmp_path / "frames")
    assert outcome.code == 0, outcome.error
    records = sorted((tmp_path / "frames" / "records").rglob("*.json"))
    assert [path.name for path in records] == ["run.json", "walk.json"]
    assert not (tmp_path / "frames" / "overlays").exists()
    coco = json.loads((tmp_path / "frames" / "coco.json").read_text())
    assert "run/0.png" in [image["file_name"] for image in coco["images"]]
    # the first frame is looked at as a photograph is; the others are followed
    same = [
        np.array_equal(*(read_labels(tmp_path / out / "masks" / "run" / name) for out in folders))
        for folders in [("out", "frames")]
        for name in ("0.png", "3.png")
    ]
    assert same == [True, False]


def test_several_classes_and_a_threshold(script, flags, tmp_path):
    second = ("--reference", tmp_path / "reference.png", tmp_path / "mask.png")
    flags = (*flags, *second, "--class_name", "dog", "cat")
    assert script(predict, *flags).code == 0
    record = json.loads((tmp_path / "out" / "records" / "walk.json").read_text())
    for one in record["frames"]:
        assert set(one["image"]["score"]) == {"dog", "cat"}
        assert all(0.5 < score < 1 for score in one["image"]["score"].values())

    assert script(predict, *flags, "--output", tmp_path / "none", "--presence", 1).code == 0
    record = json.loads((tmp_path / "none" / "records" / "walk.json").read_text())
    assert all(one["annotations"] == [] for one in record["frames"])


def test_finished_videos_are_skipped_and_interrupted_ones_start_again(
    script, flags, tmp_path, monkeypatch
):
    write_video(tmp_path / "clips" / "jump.mp4", 20)
    add, walk = VideoResults.add, tmp_path / "out" / "masks" / "walk"

    def stop_in_walk(results, *frame):
        add(results, *frame)
        if results.target.name == "walk":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VideoResults, "add", stop_in_walk)
        assert script(predict, *flags).code == 130
    assert [path.name for path in walk.iterdir()] == ["00000.png"]
    assert "1 labelled, 1 were done" in script(predict, *flags).output
    assert len(list(walk.iterdir())) == FRAMES
    assert "0 labelled, 2 were done" in script(predict, *flags).output

    write_video(tmp_path / "clips" / "walk.mp4", 10, count=2)
    assert "1 labelled, 1 were done" in script(predict, *flags).output
    assert len(list(walk.iterdir())) == 2


def test_a_bad_video_is_reported_and_the_rest_goes_on(script, flags, tmp_path):
    (tmp_path / "clips" / "a.avi").write_bytes(b"no video")
    whole = tmp_path / "whole.mpg"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, width=64, height=48)
        for number in range(12):
            cells = coloured_cells(number, (64, 48))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cells, format="rgb24")))
        container.mux(stream.encode())
    content = whole.read_bytes()
    (tmp_path / "clips" / "cut.mpg").write_bytes(content[: len(content) // 3])
    outcome = script(predict, *flags)
    assert outcome.code == 1
    assert "a.avi: not a video, or damaged" in outcome.error
    assert re.search(r"cut\.mpg is truncated", outcome.error)
    assert "Traceback" not in outcome.error
    assert "1 labelled, 0 were done before, 2 failed" in outcome.output
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["images"]) == FRAMES


def test_shards_share_videos_and_pictures(script, flags, tmp_path):
    write_frames(tmp_path / "clips" / "run", 30)
    write_video(tmp_path / "clips" / "jump.mp4", 20)
    Image.fromarray(coloured_cells(40)).save(tmp_path / "clips" / "still.png")
    flags = (*flags, "--target", tmp_path / "clips" / "*")
    assert script(predict, *flags).code == 0
    for shard in ("2/2", "1/2"):
        outcome = script(predict, *flags, "--output", tmp_path / "shards", "--shard", shard)
        assert outcome.code == 0, outcome.error

    assert contents(tmp_path / "shards") == contents(tmp_path / "out")


def test_without_any_sam_2_a_video_is_refused_before_anything_is_written(
    script, flags, tmp_path, monkeypatch
):
    first_sam = save_untrained(tmp_path / "sam.safetensors", 1)
    monkeypatch.setattr("model.beside.best_sam", lambda *_, **__: None)
    outcome = script(predict, *flags, "--ckpt", first_sam)
    assert outcome.code == 2
    *_, last = outcome.error.strip().splitlines()
    assert "needs a SAM 2 beside it for videos" in last
    assert not (tmp_path / "out").exists()

    monkeypatch.undo()
    outcome = script(predict, *flags, "--ckpt", first_sam)  # the tiny SAM 2 carries on its masks
    assert "1 labelled, 0 were done before, 0 failed" in outcome.output, outcome.error
