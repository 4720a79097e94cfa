import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import eval_image
import predict
from common.images import IGNORED
from data.benchmarks import EpisodeKey
from data.episode_files import write_keys
from model.predictor import InContextSegmenter
from tests.helpers import coloured_cells, save_reference, save_tiny_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "last.safetensors")


@pytest.fixture
def flags(checkpoint, tmp_path):
    """Flags to label a folder of three pictures from one reference, into the folder `out`."""
    (tmp_path / "photos").mkdir()
    for number in range(3):
        cells = coloured_cells(number, (60 + 10 * number, 50))
        Image.fromarray(cells).save(tmp_path / "photos" / f"{number}.png")
    return (
        *("--ckpt", checkpoint, "--device", "cpu", "--output", tmp_path / "out"),
        *("--target", tmp_path / "photos"),
        *save_reference(tmp_path),
    )


def read_labels(path):
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.array(image)


def test_masks_overlays_and_coco_are_written(script, flags, tmp_path):
    wanted = ("--labelme", "--polygons", "--yolo", "--label_studio")
    outcome = script(predict, *flags, *wanted)

    assert outcome.code == 0, outcome.error
    out = tmp_path / "out"
    coco = COCO(out / "coco.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["object"]
    assert len(coco.imgs) == 3
    for image in coco.imgs.values():
        name = Path(image["file_name"]).stem
        labels = read_labels(out / "masks" / f"{name}.png")
        assert labels.shape == (image["height"], image["width"]) == (50, 60 + 10 * int(name))
        [annotation] = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert np.array_equal(coco.annToMask(annotation), labels)
        assert annotation["area"] == labels.sum()
        assert annotation["score"] == image["score"]["object"]
        with Image.open(out / "overlays" / f"{name}.png") as overlay:
            assert overlay.size == (image["width"], image["height"])
        labelme = json.loads((out / "labelme" / f"{name}.json").read_text())
        assert (out / "labelme" / labelme["imagePath"]).resolve() == tmp_path / f"photos/{name}.png"
    assert len(COCO(out / "coco_polygons.json").anns) == 3
    assert len(list((out / "yolo" / "labels").iterdir())) == 3
    assert len(json.loads((out / "label_studio.json").read_text())) == 3


def test_classes_are_split_into_objects(script, flags, tmp_path, monkeypatch):
    def two_dogs(logits, present, size):
        labels = np.zeros(size, dtype=np.uint8)
        labels[5:20, 5:20] = labels[30:40, 30:40] = 1
        return labels

    monkeypatch.setattr("labelling.loop.label_map", two_dogs)  # the tiny model finds one
    outcome = script(predict, *flags, "--instances")
    assert outcome.code == 0, outcome.error
    coco = COCO(tmp_path / "out" / "coco.json")
    for image in coco.imgs.values():
        labels = read_labels(tmp_path / "out" / image["mask"])
        found = [coco.annToMask(one) for one in coco.loadAnns(coco.getAnnIds(image["id"]))]
        assert np.array_equal(np.sum(found, axis=0), labels)  # nothing lost, nothing twice
        assert [one.sum() for one in found] == [225, 100]
    again = script(predict, *flags)
    assert "other settings (instances)" in again.error


def test_masks_are_those_of_the_api(script, flags, checkpoint, tmp_path):
    assert script(predict, *flags).code == 0
    segmenter = InContextSegmenter.from_checkpoint(checkpoint, device="cpu")
    with (
        Image.open(tmp_path / "reference.png") as image,
        Image.open(tmp_path / "mask.png") as mask,
    ):
        concept = segmenter.learn(image, mask)
    for path in (tmp_path / "photos").iterdir():
        with Image.open(path) as photo:
            mask, _ = segmenter.segment(photo, concept)
        assert 0 < mask.mean() < 1
        assert np.array_equal(read_labels(tmp_path / "out" / "masks" / path.name) == 1, mask)


def test_masks_score_what_the_evaluation_says_of_the_same_pairs(
    script, checkpoint, generated, tmp_path
):
    voc = generated / "VOC2012"

    def read_mask(name):
        return np.array(Image.open(voc / "SegmentationClassAug" / f"{name}.png"))

    names = (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    support, *queries = [name for name in names if (read_mask(name) == 1).sum() > 300]
    keys = [EpisodeKey(1, query, (support,)) for query in queries]
    assert len(keys) > 4
    write_keys(tmp_path / "pairs.jsonl", keys, benchmark="pascal", fold=0, seed=0)
    evaluated = script(
        eval_image,
        *("--ckpt", checkpoint, "--datapath", generated, "--episodes", tmp_path / "pairs.jsonl"),
        *("--benchmark", "pascal", "--fold", 0, "--nworker", 0, "--device", "cpu"),
        *("--output", tmp_path / "evaluated"),
    )
    assert evaluated.code == 0, evaluated.error
    results = json.loads((tmp_path / "evaluated" / "results.json").read_text())

    Image.fromarray((read_mask(support) == 1).astype(np.uint8)).save(tmp_path / "support.png")
    images = [voc / "JPEGImages" / f"{query}.jpg" for query in queries]
    labelled = script(
        predict,
        *("--ckpt", checkpoint, "--device", "cpu", "--output", tmp_path / "out"),
        *("--reference", voc / "JPEGImages" / f"{support}.jpg", tmp_path / "support.png"),
        *("--target", *images),
    )
    assert labelled.code == 0, labelled.error
    intersection = union = 0
    for query in queries:
        truth, counted = read_mask(query) == 1, read_mask(query) != IGNORED
        found = read_labels(tmp_path / "out" / "masks" / f"{query}.png") == 1
        intersection += (found & truth & counted).sum()
        union += ((found | truth) & counted).sum()
    miou = 100 * intersection / union
    assert 0 < miou < 100
    # the evaluation computes four pictures at a time, which changes the last bits of a logit
    assert miou == pytest.approx(results["miou_original_size"], abs=0.05)


def test_ids_of_an_indexed_mask_are_classes(script, flags, tmp_path):
    values = np.zeros((50, 70), dtype=np.uint8)
    values[10:30, 20:50], values[35:, :20] = 2, 5
    mask = Image.fromarray(values)
    mask.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    mask.save(tmp_path / "mask.png")

    outcome = script(predict, *flags, "--class_name", "5=cat")

    assert outcome.code == 0, outcome.error
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert coco["categories"] == [{"id": 2, "name": "class_2"}, {"id": 5, "name": "cat"}]
    for path in (tmp_path / "out" / "masks").iterdir():
        assert set(np.unique(read_labels(path))) <= {0, 2, 5}
    assert set(coco["images"][0]["score"]) == {"class_2", "cat"}


def test_references_of_one_name_are_shots(script, flags, tmp_path):
    second = ("--reference", tmp_path / "photos" / "1.png", tmp_path / "mask.png")
    third = ("--reference", tmp_path / "reference.png", tmp_path / "mask.png")

    outcome = script(predict, *flags, *second, *third, "--class_name", "dog", "cat", "dog")

    assert outcome.code == 0, outcome.error
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [c["name"] for c in coco["categories"]] == ["dog", "cat"]


def broken_pictures(folder):
    """Pictures that decoders of many kinds stumble over in ways of their own."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(coloured_cells(3, (640, 480))).save(folder / "whole.avif")
    avif = bytearray((folder / "whole.avif").read_bytes())
    (folder / "whole.avif").unlink()
    avif[-200:] = bytes(200)
    contents = {
        "damaged.avif": bytes(avif),
        "damaged_avif.jpg": bytes(avif),
        "cut.avif": bytes(avif[:-250]),
        "cut_qoi.png": b"qoif" + struct.pack(">IIBB", 640, 480, 3, 0) + b"\xfe\x01",
        "wrong_qoi.bmp": b"qoif" + struct.pack(">IIBB", 64, 48, 9, 9) + bytes(range(256)),
        "cut_dds.tif": b"DDS " + struct.pack("<7I", 124, 0x1007, 48, 64, 0, 0, 0) + bytes(96),
        "text.jpg": b"no image",
        "empty.webp": b"",
        "cut.gif": b"GIF89a" + bytes(20),
        "huge.bmp": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 10**9, 10**9, 1, 24, 0),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(contents)


def test_broken_files_are_reported_and_the_rest_goes_on(script, flags, tmp_path):
    broken = broken_pictures(tmp_path / "photos")
    long = f"{'n' * 250}.png"  # as long as a system takes it for the record, too
    Image.fromarray(coloured_cells(5)).save(tmp_path / "photos" / long)
    os.mkfifo(tmp_path / "photos" / "pipe.jpg")
    outcome = script(predict, *flags, "--bsz", 2)
    assert outcome.code == 1
    assert "Traceback" not in outcome.error
    told = [line for line in outcome.error.splitlines() if line.startswith("error: ")]
    assert len(told) == len(broken)
    for name in broken:
        assert any(f"/{name}" in line for line in told), name
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 4
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["images"]) == 4
    assert f"4 labelled, 0 were done before, {len(broken)} failed" in outcome.output
    assert "left out, neither picture nor video (1): pipe.jpg" in outcome.output


def test_names_that_no_system_takes_are_wrong_use(script, flags):
    outcome = script(predict, *flags, "--target", "x" * 5000)
    assert outcome.code == 2
    assert len(outcome.error.splitlines()) == 1


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_shards_and_processes_give_the_same_files(script, torchrun, flags, tmp_path):
    assert script(predict, *flags).code == 0
    for shard in ("2/2", "1/2"):
        outcome = script(predict, *flags, "--output", tmp_path / "shards", "--shard", shard)
        assert outcome.code == 0
    torchrun(2, "predict.py", *flags, "--output", tmp_path / "processes")

    expected = contents(tmp_path / "out")
    assert contents(tmp_path / "shards") == expected
    assert contents(tmp_path / "processes") == expected


def test_a_turned_photograph_gets_an_upright_mask(script, flags, tmp_path):
    path = tmp_path / "photos" / "0.png"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    assert script(predict, *flags).code == 0
    assert read_labels(tmp_path / "out" / "masks" / "0.png").shape == (60, 50)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--shard", "3/2"), "--shard must be i/n"),
        (("--presence", "2"), "--presence must be between 0 and 1"),
        (("--prompt_every", "-1"), "--prompt_every cannot be negative"),
        (("--class_name", "a", "b"), "2 names for 1 references"),
        (("--class_name", "7=dog"), "no mask has the id 7"),
        (("--target", "absent.jpg"), "no image or video found: absent.jpg"),
        (("--reference", "absent.jpg", "absent.png"), "no such image: absent.jpg"),
        (("--ckpt", "absent.safetensors"), "no such file"),
    ],
)
def test_wrong_use_is_told_in_one_line(script, flags, wrong, message):
    outcome = script(predict, *flags, *wrong)
    assert outcome.code == 2
    assert message in outcome.error
    assert len(outcome.error.strip().splitlines()) == 1


def test_everything_that_is_missing_is_named_at_once(script):
    outcome = script(predict)
    assert outcome.code == 2
    assert all(flag in outcome.error for flag in ("--reference", "--target"))


@pytest.mark.parametrize("value", [0, 128])
def test_masks_that_cannot_teach_are_refused(script, flags, tmp_path, value):
    mask = np.zeros((50, 70), dtype=np.uint8)
    mask[:20], mask[20:22] = 2 * value - (value > 0), value
    Image.fromarray(mask).save(tmp_path / "mask.png")
    outcome = script(predict, *flags)
    assert outcome.code == 2
    assert "mask.png" in outcome.error
    assert len(outcome.error.strip().splitlines()) == 1


def test_what_a_folder_holds_besides_is_named_and_broken_files_stop_nothing(
    script, flags, tmp_path
):
    photos = tmp_path / "photos"
    (photos / "notes.txt").write_text("bring milk")
    (photos / "broken.heic").write_bytes(b"no picture")
    Image.fromarray(coloured_cells(7)).save(photos / "telephone.heic")

    outcome = script(predict, *flags)

    assert outcome.code == 1
    assert "left out, neither picture nor video (1): notes.txt" in outcome.output
    assert "broken.heic" in outcome.error
    assert "4 labelled, 0 were done before, 1 failed" in outcome.output
    assert read_labels(tmp_path / "out" / "masks" / "telephone.png").shape == (50, 70)
