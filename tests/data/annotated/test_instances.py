import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO

from common.errors import UsageError
from data.annotated.instances import Instances, open_instances

BAR = np.zeros((6, 8), dtype=bool)
BAR[1:5, 2] = True


def encoded(mask, plain=False):
    if plain:  # lengths of zeros and ones in turn, column by column
        changes = np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=0, append=0)) + 0
        ends = [*changes.tolist(), mask.size]
        counts = np.diff([0, *ends]).tolist()
        return {"size": list(mask.shape), "counts": counts}
    code = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": code["size"], "counts": code["counts"].decode()}


def annotation(number, image, category, segmentation, crowd=0):
    return {
        **{"id": number, "image_id": image, "category_id": category},
        **{"segmentation": segmentation, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]},
    }


def coco_instances(root, split="train2017", **left_out):
    file = root / "annotations" / f"instances_{split}.json"
    return Instances("coco_instance", root, file, root / split, **left_out)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four pictures: of classes 1 and 5, of class 5 and a crowd of 7, of 7, and of nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = [
        {"id": 10 * n, "file_name": f"{n}.png", "height": 6, "width": 8} for n in (3, 1, 2, 4)
    ]
    square = [[2, 1, 5, 1, 5, 4, 2, 4]]
    annotations = [
        annotation(901, 10, 5, encoded(BAR)),
        annotation(902, 30, 5, square),
        annotation(903, 10, 1, square),
        annotation(904, 30, 7, encoded(BAR, plain=True), crowd=1),
        annotation(905, 20, 7, [[0, 0, 8, 0, 8, 6, 0, 6], [1, 2]]),
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c, "name": f"class {c}"} for c in (7, 1, 5)],
    }
    root = tmp_path / "COCO2017"
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    for n in range(1, 5):
        Image.new("RGB", (8, 6), (n, 0, 0)).save(root / "train2017" / f"{n}.png")
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return root


def test_pictures_classes_and_masks(folder):
    source = coco_instances(folder)
    assert source.names == ("3.png", "1.png", "2.png")  # the fourth shows nothing
    assert {c: images.tolist() for c, images in source.images_of.items()} == {
        **{1: [1], 5: [0, 1], 7: [2]}
    }
    assert [source.classes_of[n].tolist() for n in range(3)] == [[5], [1, 5], [7]]
    assert source.class_names == {1: "class 1", 5: "class 5", 7: "class 7"}
    pixels, found = source.read("3.png")
    assert pixels[0, 0].tolist() == [3, 0, 0]
    assert found.ids.tolist() == [902, 904]
    assert found.class_ids.tolist() == [5, 7]
    assert found.crowd.tolist() == [False, True]
    assert found.masks[0].nonzero()[0].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert np.array_equal(found.masks[1], BAR)
    assert np.array_equal(source.read("1.png")[1].masks[0], BAR)
    assert source.read("2.png")[1].masks.all()
    with pytest.raises(UsageError, match=r"no picture 4.png"):
        source.read("4.png")


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_masks_are_those_of_pycocotools(generated):
    root = generated / "COCO2014"
    file = root / "annotations" / "instances_val2014.json"
    source = Instances("drawn", root, file, root / "val2014")
    assert source.domain == "drawings"
    other = COCO(file)
    for image in other.loadImgs(other.getImgIds())[:10]:
        wanted = other.loadAnns(other.getAnnIds(imgIds=image["id"]))
        found = source.read(image["file_name"])[1]
        assert found.ids.tolist() == [one["id"] for one in wanted]
        assert found.class_ids.tolist() == [one["category_id"] for one in wanted]
        for mask, one in zip(found.masks, wanted, strict=True):
            assert np.array_equal(mask, other.annToMask(one))


def test_left_out_classes_are_seen_nowhere(folder):
    source = coco_instances(folder, without=[7])
    assert source.names == ("1.png",)  # in 3.png there is a crowd of them
    assert source.class_names.keys() == {1, 5}
    assert coco_instances(folder, without_files=["1.png"]).names == ("3.png", "2.png")
    with pytest.raises(UsageError, match="no picture shows"):
        coco_instances(folder, without=[5, 7])
    prints = {
        coco_instances(folder, **left_out).fingerprint()
        for left_out in ({}, {"without": [7]}, {"without_files": ["1.png"]})
    }
    assert len(prints) == 3


def test_the_index_is_kept_and_made_anew_when_the_file_changes(folder, monkeypatch):
    file = folder / "annotations" / "instances_train2017.json"
    open_instances(file)
    kept = file.with_name("instances_train2017.json.index")
    assert kept.is_dir()
    with monkeypatch.context() as patch:
        patch.setattr("data.annotated.instances._parse", None)
        assert open_instances(file).object_ids.tolist() == [902, 904, 901, 903, 905]
    content = json.loads(file.read_text())
    content["annotations"].pop()
    file.write_text(json.dumps(content))
    assert open_instances(file).object_ids.tolist() == [902, 904, 901, 903]
    (kept / "runs.npy").write_bytes(b"broken")
    assert coco_instances(folder).read("1.png")[1].masks.shape == (2, 6, 8)


def test_a_read_only_folder_is_left_alone(folder, tmp_path):
    place = folder / "annotations"
    place.chmod(0o555)
    open_instances(place / "instances_train2017.json")
    assert not list(place.glob("*.index"))
    assert list((tmp_path / "cache").rglob("header.json"))
    place.chmod(0o755)


def test_several_files_are_one(folder, tmp_path):
    file = folder / "annotations" / "instances_train2017.json"
    whole = json.loads(file.read_text())
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, chosen in enumerate(({30, 10}, {20, 40})):
        images = [image for image in whole["images"] if image["id"] in chosen]
        objects = [one for one in whole["annotations"] if one["image_id"] in chosen]
        part = {**whole, "images": images, "annotations": objects}
        (parts / f"part-{number}.json").write_text(json.dumps(part))
    source = Instances("parts", folder, parts, folder / "train2017")
    assert source.names == coco_instances(folder).names
    assert source.fingerprint() == coco_instances(folder).fingerprint()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "no instances file"),
        (lambda c: c["annotations"][0].update(image_id=77), "no instances file"),
        (lambda c: c["annotations"][0].pop("segmentation"), "tools.box_masks"),
        (lambda c: c["annotations"][0].update(category_id=9), "not listed: .9"),
        (lambda c: c["annotations"][0]["segmentation"].update(size=[9, 9]), "run lengths"),
    ],
)
def test_a_wrong_file_is_refused(folder, change, message):
    file = folder / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        coco_instances(folder)


def test_missing_and_disagreeing_files(folder):
    Image.new("RGB", (9, 6)).save(folder / "train2017" / "3.png")
    with pytest.raises(UsageError, match="sizes differ"):
        coco_instances(folder).read("3.png")
    with pytest.raises(UsageError, match="cannot read the annotations"):
        coco_instances(folder, "val2017")
    (folder / "train2017").rename(folder / "elsewhere")
    with pytest.raises(UsageError, match="no such folder of images"):
        coco_instances(folder)
