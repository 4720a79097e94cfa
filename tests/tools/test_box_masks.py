import json
import shutil

import numpy as np
import pytest

from common.coco_masks import mask_annotation
from data.annotated.catalogue import open_source
from data.annotated.instances import open_instances
from data.synthetic.objects import offset_pictures, visible_objects
from data.synthetic.pictures import draw_picture
from data.synthetic.style import COCO_PAIRS
from model.sam.boxes import box_geometry, masks_of_boxes
from model.sam.clicks import PromptedPicture
from model.sam.variants import build_segmenter, segmenter_weights
from tools import box_masks

FLAGS = ("--sam_model", "tiny", "--device", "cpu", "--nworker", "0", "--part_size", "4")


@pytest.fixture
def root(annotated, tmp_path):
    shutil.copytree(annotated / "Objects365", tmp_path / "Objects365")
    return tmp_path / "Objects365"


def parts(root):
    return {path.name: path.read_text() for path in (root / "masks" / "train").glob("part-*")}


def test_tiny_sam_finds_the_drawn_objects_by_their_boxes(root, script):
    assert script(box_masks, "--root", root, *FLAGS).code == 0
    assert sorted(parts(root)) == ["part-00000.json", "part-00001.json"]
    source = open_source("objects365", root.parent)
    overlaps = []
    for picture, name in zip(
        offset_pictures("objects365", {"train": 6}, 1), source.names, strict=True
    ):
        found = source.read(name)[1]
        truth = visible_objects(draw_picture(picture, COCO_PAIRS))
        assert found.class_ids.tolist() == [one.class_id for one in truth]
        for mask, one in zip(found.masks, truth, strict=True):
            overlaps.append((mask & one.mask).sum() / (mask | one.mask).sum())
    assert len(overlaps) > 12
    # tiny SAM was seldom shown boxes, and objects hide each other
    assert np.median(overlaps) > 0.6
    estimates = [
        a["predicted_iou"] for a in json.loads(parts(root)["part-00000.json"])["annotations"]
    ]
    assert all(0 < estimate <= 1.1 for estimate in estimates)


def test_the_longer_side_fills_the_square():
    """A tall picture's box means the place that the picture has in SAM's square."""
    sam = build_segmenter(1, "tiny", segmenter_weights(1, "tiny")).eval()
    drawn = draw_picture(offset_pictures("objects365", {"train": 1}, 1)[0], COCO_PAIRS)
    objects = visible_objects(drawn)
    boxes = np.array([mask_annotation(one.mask)["bbox"] for one in objects])
    taller = drawn.image.repeat(2, axis=0)[:, :64]
    geometry = box_geometry(sam)
    assert geometry.content((256, 64)) == (128, 32)
    features = sam.encode(geometry.image(taller)[None])
    halved = boxes * [1, 2, 1, 2]
    found = [mask for mask, _ in masks_of_boxes(sam, features, halved, taller.shape[:2])]
    assert [mask.shape for mask in found] == [(256, 64)] * len(objects)
    square = sam.encode(geometry.image(drawn.image)[None])
    wanted = PromptedPicture(sam, geometry.image(drawn.image)[None])
    for box, (mask, _) in zip(boxes, masks_of_boxes(sam, square, boxes, (128, 128)), strict=True):
        left, top, width, height = (side / 128 for side in box)
        asked = wanted.mask((128, 128), box=(left, top, left + width, top + height))
        assert np.array_equal(mask, asked)


def test_a_run_goes_on_where_it_stopped(root, script, monkeypatch):
    assert script(box_masks, "--root", root, *FLAGS).code == 0
    whole = parts(root)
    (root / "masks" / "train" / "part-00001.json").unlink()
    made = []
    make = box_masks.make_part
    monkeypatch.setattr(
        box_masks, "make_part", lambda *words: made.append(words[3]) or make(*words)
    )
    assert script(box_masks, "--root", root, *FLAGS).code == 0
    assert made == [1]
    assert parts(root) == whole
    outcome = script(box_masks, "--root", root, *FLAGS[:-1], "3")
    assert outcome.code == 2
    assert "other settings (part_size)" in outcome.error


def test_crowds_are_their_boxes_and_pictures_that_cannot_be_read_are_left_out(root, script):
    file = root / "annotations" / "zhiyuan_objv2_train.json"
    content = json.loads(file.read_text())
    first = content["annotations"][0]
    first.update(iscrowd=1, bbox=[10.0, 20.0, 30.0, 40.0])
    file.write_text(json.dumps(content))
    pictures = sorted((root / "train" / "patch0").iterdir())
    pictures[-1].unlink()
    pictures[-2].write_bytes(b"no picture")
    outcome = script(box_masks, "--root", root, *FLAGS)
    assert outcome.code == 1
    assert "2 pictures were left out" in outcome.output
    index = open_instances(root / "masks" / "train")
    assert len(index.files) == 4
    place = index.object_ids.tolist().index(first["id"])
    assert index.crowd[place]
    mask = index.masks(int(index.positions[place]))[place]
    assert mask[20:60, 10:40].all()
    assert mask.sum() == 40 * 30


def test_wrong_use_is_told_at_once(tmp_path, script):
    outcome = script(box_masks, "--root", tmp_path, "--sam_version", "2", "--sam_model", "vit_h")
    assert outcome.code == 2
    for problem in ("no such folder of pictures", "no such file", "of --sam_version there are"):
        assert problem in outcome.error


@pytest.mark.slow
def test_two_processes_make_the_same_parts(root, script, torchrun):
    flags = (*FLAGS[:-1], "2")
    assert script(box_masks, "--root", root, *flags).code == 0
    alone = parts(root)
    shutil.rmtree(root / "masks")
    torchrun(2, "-m", "tools.box_masks", "--root", root, *flags)
    assert parts(root) == alone
