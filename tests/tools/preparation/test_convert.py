import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from common.errors import UsageError
from common.images import read_mask
from common.video_io import davis_palette
from tools.preparation.convert import (
    CocoImage,
    PascalNames,
    draw_class_mask,
    make_augmented_masks,
    make_class_masks,
    read_boundaries_mask,
    read_instances,
)

REAL = Path(__file__).resolve().parents[4] / "shared" / "real"


def write_sbd(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": {"Segmentation": mask, "CategoriesPresent": np.unique(mask)}})


def write_names(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def pascal(tmp_path):
    """t: VOC train and SBD train; v: VOC val; m: val without a mask in VOC; s, w: SBD alone."""
    voc, sbd = tmp_path / "VOC2012", tmp_path / "SBD"
    write_names(voc / "ImageSets/Segmentation/train.txt", ["t"])
    write_names(voc / "ImageSets/Segmentation/val.txt", ["v"])
    write_names(voc / "ImageSets/Main/val.txt", ["v", "m"])
    write_names(sbd / "train.txt", ["t", "m", "s"])
    write_names(sbd / "val.txt", ["v", "w"])
    (voc / "SegmentationClass").mkdir()
    for value, name in enumerate("tv", start=1):
        mask = Image.fromarray(np.array([[0, value], [255, 0]], np.uint8))
        mask.putpalette(davis_palette().tobytes())
        mask.save(voc / "SegmentationClass" / f"{name}.png")
    for value, name in enumerate("tmsvw", start=11):
        write_sbd(sbd / "cls" / f"{name}.mat", np.array([[0, value, value]], np.uint8))
    return voc, sbd


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_lists_of_the_paper_leave_out_the_whole_val_set(pascal):
    names = PascalNames.read(*pascal)

    assert names.all == ["m", "s", "t", "v", "w"]
    assert names.paper_training == ["s", "t"]
    assert names.largest_training == ["m", "s", "t", "w"]


def test_masks_of_voc_win_over_those_of_sbd(pascal):
    voc, sbd = pascal

    assert make_augmented_masks(voc, sbd, PascalNames.read(voc, sbd), workers=1) == []

    masks = {
        path.stem: read_mask(path).tolist() for path in (voc / "SegmentationClassAug").iterdir()
    }
    assert masks == {
        "t": [[0, 1], [255, 0]],
        "v": [[0, 2], [255, 0]],
        "m": [[0, 12, 12]],
        "s": [[0, 13, 13]],
        "w": [[0, 15, 15]],
    }


def test_an_interrupted_conversion_goes_on_with_the_same_result(pascal):
    voc, sbd = pascal
    names, folder = PascalNames.read(voc, sbd), voc / "SegmentationClassAug"
    make_augmented_masks(voc, sbd, names, workers=1)
    whole = contents(folder)
    kept = (folder / "s.png").stat().st_mtime_ns
    (folder / "m.png").unlink()
    (folder / ".m.1234.png").write_bytes(b"half")

    make_augmented_masks(voc, sbd, names, workers=1)

    assert contents(folder) == whole
    assert (folder / "s.png").stat().st_mtime_ns == kept


def test_a_broken_mask_is_named_and_the_others_are_made(pascal):
    voc, sbd = pascal
    (sbd / "cls/s.mat").write_bytes(b"no mat file")

    (problem,) = make_augmented_masks(voc, sbd, PascalNames.read(voc, sbd), workers=1)

    assert "s.mat" in problem
    assert sorted(contents(voc / "SegmentationClassAug")) == ["m.png", "t.png", "v.png", "w.png"]


def test_nothing_is_begun_while_a_listed_mask_is_missing(pascal):
    voc, sbd = pascal
    (voc / "SegmentationClass/v.png").unlink()

    with pytest.raises(UsageError, match=r"SegmentationClass/v\.png"):
        make_augmented_masks(voc, sbd, PascalNames.read(voc, sbd), workers=1)
    assert not (voc / "SegmentationClassAug").exists()


def test_a_value_that_is_no_class_is_refused(tmp_path):
    write_sbd(tmp_path / "a.mat", np.array([[0, 21]], np.uint8))

    with pytest.raises(UsageError, match="outside of 0 to 20"):
        read_boundaries_mask(tmp_path / "a.mat")


def square(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_a_later_instance_covers_an_earlier_one():
    first, second = (2, square(0, 0, 2, 2)), (9, square(1, 1, 3, 3))

    mask = draw_class_mask(CocoImage("a", 4, 4, (first, second)))
    other = draw_class_mask(CocoImage("a", 4, 4, (second, first)))

    assert mask.tolist() == [[2, 2, 2, 0], [2, 9, 9, 9], [2, 9, 9, 9], [0, 9, 9, 9]]
    assert other.tolist() == [[2, 2, 2, 0], [2, 2, 2, 9], [2, 2, 2, 9], [0, 9, 9, 9]]


def test_crowds_are_drawn_from_run_lengths_that_go_down_the_columns():
    crowd = {"counts": [1, 2, 3], "size": [3, 2]}

    mask = draw_class_mask(CocoImage("a", 3, 2, ((7, crowd),)))

    assert mask.tolist() == [[0, 0], [7, 0], [7, 0]]


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        {"counts": [1, 2], "size": [3, 2]},
        {"counts": [-1, 7], "size": [3, 2]},
        {"counts": [6], "size": [2, 3]},
    ],
)
def test_malformed_segmentations_are_refused(segmentation):
    with pytest.raises(ValueError, match=r"polygon|run lengths"):
        draw_class_mask(CocoImage("a", 3, 2, ((1, segmentation),)))


def write_instances(path, images, annotations):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [
            {"id": number, "file_name": name, "height": 4, "width": 4} for number, name in images
        ],
        "annotations": [
            {"image_id": image, "category_id": category, "segmentation": segmentation}
            for image, category, segmentation in annotations
        ],
    }
    path.write_text(json.dumps(content))
    return path


def test_every_image_gets_a_mask_for_any_number_of_workers(tmp_path):
    instances = write_instances(
        tmp_path / "instances.json",
        [(5, "b.jpg"), (3, "a.jpg"), (4, "empty.jpg")],
        [(5, 90, square(0, 0, 1, 1)), (3, 13, square(0, 0, 0, 3))],
    )

    for workers in (1, 2):
        assert make_class_masks(instances, tmp_path / str(workers), workers=workers) == []

    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    masks = {path.stem: read_mask(path) for path in (tmp_path / "1").iterdir()}
    assert {name: mask.max() for name, mask in masks.items()} == {"a": 12, "b": 80, "empty": 0}


def test_an_image_that_cannot_be_drawn_is_named_and_the_others_are_made(tmp_path):
    instances = write_instances(
        tmp_path / "instances.json", [(1, "a.jpg"), (2, "b.jpg")], [(1, 1, [[0, 0]])]
    )

    (problem,) = make_class_masks(instances, tmp_path / "masks", workers=1)

    assert problem.startswith("a: ")
    assert list(contents(tmp_path / "masks")) == ["b.png"]


@pytest.mark.parametrize(
    ("images", "annotations"),
    [
        ([(1, "../a.jpg")], []),
        ([(1, "a.jpg")], [(2, 1, [])]),
        ([(1, "a.jpg")], [(1, 12, [])]),
    ],
)
def test_an_inconsistent_instances_file_is_refused(tmp_path, images, annotations):
    path = write_instances(tmp_path / "instances.json", images, annotations)

    with pytest.raises(UsageError, match="not an instances file"):
        read_instances(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real samples are not on this machine")
def test_real_annotations_give_the_class_masks_in_use():
    folder = REAL / "COCO2014/annotations/val2014"
    compared = 0
    for image in read_instances(REAL / "coco_instances_sample.json"):
        path = folder / f"COCO_val2014_{image.name}.png"
        if path.is_file():
            np.testing.assert_array_equal(draw_class_mask(image), read_mask(path))
            compared += 1
    assert compared == 5
