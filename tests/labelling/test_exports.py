"""Each export is read back by the library of the tool that it is for."""

import json

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO

from labelling.exports import joined_outline
from labelling.label_folder import LabelFolder, VideoResults
from labelling.objects import Labels, split_into_objects
from labelling.targets import Target

CLASSES = {3: "dog", 7: "a cat's"}
FORMATS = frozenset({"polygons", "labelme", "yolo", "label_studio"})
HEIGHT, WIDTH = 60, 90


def make_classes() -> np.ndarray:
    """Two dogs, and a cat of two parts of which the smaller is a speck."""
    classes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    classes[np.hypot(rows - 20, columns - 20) < 14] = 3
    classes[np.hypot(rows - 35, columns - 65) < 16] = 3
    classes[45:58, 5:30] = 7
    classes[50:52, 33:35] = 7
    return classes


TRUTH = {
    "dogs": [make_classes()[:, :43] == 3, make_classes()[:, 43:] == 3],
    "cat": make_classes() == 7,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of the results of two pictures, of which the second shows nothing."""
    root = tmp_path_factory.mktemp("exports")
    folder = LabelFolder(root / "out", CLASSES, True, formats=FORMATS, model="a model")
    for name, classes in (("a b", make_classes()), ("c", np.zeros((HEIGHT, WIDTH), np.uint8))):
        target = Target(root / "photos" / f"{name}.jpg", name)
        target.path.parent.mkdir(exist_ok=True)
        picture = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        Image.fromarray(picture).save(target.path)
        labels = split_into_objects(Labels(classes, {3: 0.9, 7: 0.8}))
        folder.write(target, folder.begin(target), labels, picture)
    folder.join()
    return folder.path


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


def expect_objects(masks: list[np.ndarray], names: list[str]) -> None:
    """Three objects: the left dog, the right dog, the cat with both its parts."""
    assert names == ["dog", "dog", "a cat's"]
    whole = [np.zeros((HEIGHT, WIDTH), dtype=bool) for _ in range(2)]
    whole[0][:, :43], whole[1][:, 43:] = TRUTH["dogs"]
    for mask, truth in zip(masks, [*whole, TRUTH["cat"]], strict=True):
        # pixels on an outline count as inside for some tools, and not for others
        assert overlap(mask.astype(bool), truth) > 0.85


def test_pycocotools_reads_coco_with_an_annotation_for_each_object(written):
    for name, least in (("coco.json", 1), ("coco_polygons.json", 0.9)):
        coco = COCO(written / name)
        found = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
        names = [coco.cats[one["category_id"]]["name"] for one in found]
        masks = [coco.annToMask(one) for one in found]
        expect_objects(masks, names)
        assert overlap(masks[2] > 0, TRUTH["cat"]) >= least
        assert found[0]["bbox"] == [7, 7, 27, 27]
        assert coco.getAnnIds(imgIds=[2]) == []


def test_supervision_reads_coco(written):
    data = supervision.DetectionDataset.from_coco(
        str(written.parent / "photos"), str(written / "coco.json"), force_masks=True
    )
    found = data.annotations[str(written.parent / "photos" / "a b.jpg")]
    expect_objects(list(found.mask), [data.classes[number] for number in found.class_id])


def test_supervision_reads_yolo(written):
    yolo = written / "yolo"
    data = supervision.DetectionDataset.from_yolo(
        str(yolo / "images"), str(yolo / "labels"), str(yolo / "data.yaml"), force_masks=True
    )
    assert data.classes == ["dog", "a cat's"]
    assert len(data) == 2
    found = data.annotations[str(yolo / "images" / "a b.jpg")]
    expect_objects(list(found.mask), [data.classes[number] for number in found.class_id])
    assert len(data.annotations[str(yolo / "images" / "c.jpg")]) == 0


def test_yolo_files_have_one_line_for_each_object(written):
    """As Ultralytics documents it: a class from 0, then x and y in turn, from 0 to 1."""
    lines = (written / "yolo" / "labels" / "a b.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "0", "1"]
    for line in lines:
        values = [float(value) for value in line.split()[1:]]
        assert len(values) % 2 == 0
        assert len(values) >= 6
        assert 0 <= min(values) <= max(values) <= 1
    assert (written / "yolo" / "labels" / "c.txt").read_text() == ""
    assert (written / "yolo" / "images" / "c.jpg").resolve() == written.parent / "photos" / "c.jpg"


def test_label_studio_takes_its_tasks_for_annotations(written, tmp_path):
    """Its own converter reads them as it would a person's annotations, and writes COCO."""
    from label_studio_converter.converter import Converter, Format  # takes seconds

    tasks = json.loads((written / "label_studio.json").read_text())
    for number, task in enumerate(tasks):
        task["id"] = number  # Label Studio numbers what it imports
        [prediction] = task["predictions"]
        assert prediction["model_version"] == "a model"
        task["annotations"] = task.pop("predictions")
        task["annotations"][0]["completed_by"] = {"id": 1}
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=a%20b.jpg"
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))

    converter = Converter(
        (written / "label_studio.xml").read_text(), str(tmp_path), download_resources=False
    )
    converter.convert(tmp_path / "tasks.json", tmp_path / "coco", Format.COCO, is_dir=False)

    coco = COCO(next((tmp_path / "coco").rglob("result.json")))
    image = next(i for i in coco.imgs.values() if "a b" in i["file_name"].replace("%20", " "))
    assert (image["height"], image["width"]) == (HEIGHT, WIDTH)
    found = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
    names = [coco.cats[one["category_id"]]["name"] for one in found]
    expect_objects([coco.annToMask(one) for one in found], names)


def test_labelme_has_a_group_for_each_object(written):
    shapes = json.loads((written / "labelme" / "a b.json").read_text())["shapes"]
    assert [(one["label"], one["group_id"]) for one in shapes] == [
        ("dog", 1),
        ("dog", 2),
        ("a cat's", 3),
        ("a cat's", 3),
    ]


def test_an_outline_of_several_parts_covers_them_and_no_more():
    squares = [[0, 0, 4, 0, 4, 4, 0, 4], [8, 8, 12, 8, 12, 12, 8, 12], [20, 0, 24, 0, 24, 4, 20, 4]]
    joined = joined_outline(squares)
    # the shoelace formula: lines there and back have no area
    x, y = joined.T
    assert abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 == 3 * 16
    assert set(map(tuple, joined)) == {tuple(c) for s in squares for c in np.reshape(s, (-1, 2))}
    encoded = run_lengths.merge(run_lengths.frPyObjects([joined.flatten().tolist()], 13, 25))
    apart = run_lengths.merge(run_lengths.frPyObjects(squares, 13, 25))
    assert run_lengths.iou([encoded], [apart], [0])[0, 0] > 0.9


def test_what_is_gone_leaves_the_yolo_folder(tmp_path):
    folder = LabelFolder(tmp_path / "out", {1: "dog"}, True, formats=frozenset({"yolo"}))
    picture = np.zeros((4, 5, 3), np.uint8)
    for name in "ab":
        target = Target(tmp_path / f"{name}.png", name)
        Image.fromarray(picture).save(target.path)
        labels = Labels(np.ones((4, 5), np.uint8), {1: 1.0})
        folder.write(target, folder.begin(target), labels, picture)
    folder.join()
    (tmp_path / "a.png").unlink()
    folder.join()
    inside = folder.path / "yolo"
    files = sorted(p.relative_to(inside).as_posix() for p in inside.rglob("*") if not p.is_dir())
    assert files == ["data.yaml", "images/b.png", "labels/b.txt"]


def test_frames_of_a_video_file_are_in_no_data_set_of_files(tmp_path):
    folder = LabelFolder(tmp_path / "out", {1: "dog"}, True, False, FORMATS)
    video = Target(tmp_path / "walk.mp4", "walk", is_video=True)
    video.path.write_bytes(b"a video")
    with VideoResults(folder, video) as results:
        results.add(Labels(np.ones((4, 5), np.uint8), {1: 1.0}), np.zeros((4, 5, 3), np.uint8))
    folder.join()
    assert json.loads((folder.path / "label_studio.json").read_text()) == []
    assert not (folder.path / "yolo" / "labels").exists()
    assert len(COCO(folder.path / "coco.json").anns) == 1
