import dataclasses
import functools
import http.server
import io
import json
import re
import shutil
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from common.cli import run_script
from common.errors import UsageError
from common.images import read_mask
from tools import prepare

TRAIN, VAL, SBD_ONLY = ("t", "v", "s")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def published(tmp_path):
    """A folder that a local server publishes, and its address."""
    folder = tmp_path / "published"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def picture(mode, array):
    content = io.BytesIO()
    Image.fromarray(array).save(content, "JPEG" if mode == "image" else "PNG")
    return content.getvalue()


def striped(classes):
    """A mask with a stripe of 64 x 64 pixels, twice what counts, for every class."""
    return np.repeat(np.array(classes, np.uint8), 64)[None].repeat(64, axis=0)


def write_tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def repointed(monkeypatch, name, address, expected):
    """Give the parts of a data set other addresses and sizes."""
    parts = tuple(
        dataclasses.replace(
            part,
            expected=expected[part.path],
            source=part.source
            if isinstance(part.source, str)
            else dataclasses.replace(
                part.source, address=f"{address}/{part.source.name}", md5=None
            ),
        )
        for part in getattr(prepare, name)
    )
    monkeypatch.setattr(prepare, name, parts)


@pytest.fixture
def small_pascal(published, monkeypatch):
    folder, address = published
    classes = [list(range(1, 21))]
    mask, image = striped(classes[0]), np.zeros((64, 1280, 3), np.uint8)
    content = io.BytesIO()
    # SBD's image shows one class of each fold, so that no fold may train on it
    savemat(content, {"GTcls": {"Segmentation": striped([1, 6, 11, 16] * 5)}})
    voc = "VOCdevkit/VOC2012"
    write_tar(
        folder / "VOCtrainval_11-May-2012.tar",
        {f"{voc}/JPEGImages/{name}.jpg": picture("image", image) for name in (TRAIN, VAL, SBD_ONLY)}
        | {f"{voc}/SegmentationClass/{VAL}.png": picture("mask", mask)}
        | {f"{voc}/SegmentationClass/{TRAIN}.png": picture("mask", striped([1] * 20))}
        | {f"{voc}/ImageSets/Segmentation/train.txt": b"t\n"}
        | {f"{voc}/ImageSets/Segmentation/val.txt": b"v\n"}
        | {f"{voc}/ImageSets/Main/val.txt": b"v\n"},
    )
    sbd = "benchmark_RELEASE/dataset"
    write_tar(
        folder / "benchmark.tgz",
        {
            f"{sbd}/cls/{SBD_ONLY}.mat": content.getvalue(),
            f"{sbd}/train.txt": b"s\n",
            f"{sbd}/val.txt": b"",
        },
    )
    lists = "VOC2012/ImageSets/Segmentation"
    expected = {
        "VOC2012/JPEGImages": 3,
        "VOC2012/SegmentationClass": 2,
        f"{lists}/train.txt": 1,
        f"{lists}/val.txt": 1,
        "VOC2012/ImageSets/Main/val.txt": 1,
        "SBD/cls": 1,
        "SBD/train.txt": 1,
        "SBD/val.txt": 0,
        "VOC2012/SegmentationClassAug": 3,
        f"{lists}/train_sbd.txt": 2,
        f"{lists}/trainaug.txt": 2,
    }
    repointed(monkeypatch, "PASCAL_PARTS", address, expected)


def test_pascal_is_fetched_made_and_reported(small_pascal, tmp_path, capsys):
    root = tmp_path / "Datasets"

    code = prepare.main(["pascal", "--root", str(root), "--download", "--workers", "1"])

    assert code == 1
    printed = capsys.readouterr().out
    assert printed.count("  there ") == 11
    assert "no train image shows a train class of fold 0" in printed
    assert "fold 1 train: 1 instead of 3726" in printed
    assert "fold 0 test: 1 instead of 364" in printed
    assert "fold 3 test class 20: 1 instead of 69" in printed
    assert (root / "VOC2012/ImageSets/Segmentation/train_sbd.txt").read_text() == "s\nt\n"
    made = root / "VOC2012/SegmentationClassAug"
    assert read_mask(made / "s.png")[0, ::64].tolist() == [1, 6, 11, 16] * 5
    assert read_mask(made / "v.png")[0, ::64].tolist() == list(range(1, 21))


def test_pascal_with_the_expected_counts_is_complete(small_pascal, tmp_path, capsys, monkeypatch):
    counts = {f"fold {fold} test": 1 for fold in range(4)}
    monkeypatch.setattr(prepare, "PASCAL_COUNTS", counts)
    monkeypatch.setattr(prepare.Pascal, "class_lists", lambda *_: {"v": (1,)})
    root = tmp_path / "Datasets"

    assert prepare.main(["pascal", "--root", str(root), "--download", "--workers", "1"]) == 0
    assert "VOC2012 is complete." in capsys.readouterr().out


def test_a_list_that_somebody_else_made_is_kept_and_reported(small_pascal, tmp_path, capsys):
    root = tmp_path / "Datasets"
    other = root / "VOC2012/ImageSets/Segmentation/trainaug.txt"
    other.parent.mkdir(parents=True)
    other.write_text("somebody\n")

    prepare.main(["pascal", "--root", str(root), "--download", "--workers", "1"])

    assert other.read_text() == "somebody\n"
    assert "partial   VOC2012/ImageSets/Segmentation/trainaug.txt" in capsys.readouterr().out


def test_coco_is_fetched_made_and_complete(published, tmp_path, monkeypatch, capsys):
    folder, address = published
    monkeypatch.setattr(prepare, "COCO_COUNTS", {"fold 1 test": 1})
    expected, members = {}, {}
    # one image that shows a class of every fold
    annotations = [
        {
            "image_id": 1,
            "category_id": category,
            "segmentation": [[64 * n, 0, 64 * n + 63, 0, 64 * n + 63, 63, 64 * n, 63]],
        }
        for n, category in enumerate((1, 2, 3, 4))
    ]
    for name in ("train2014", "val2014"):
        image = picture("image", np.zeros((64, 256, 3), np.uint8))
        write_zip(folder / f"{name}.zip", {f"{name}/a.jpg": image})
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "height": 64, "width": 256}],
            "annotations": annotations,
        }
        members[f"annotations/instances_{name}.json"] = json.dumps(content)
        expected |= {f"COCO2014/{name}": 1, f"COCO2014/annotations/{name}": 1}
        expected[f"COCO2014/annotations/instances_{name}.json"] = 1
    write_zip(folder / "annotations_trainval2014.zip", members)
    repointed(monkeypatch, "COCO_PARTS", address, expected)
    root = tmp_path / "Datasets"

    assert prepare.main(["coco", "--root", str(root), "--download", "--workers", "1"]) == 0

    mask = read_mask(root / "COCO2014/annotations/val2014/a.png")
    assert mask[0, ::64].tolist() == [1, 2, 3, 4]
    assert "fold 3 test: 1 images" in capsys.readouterr().out


def test_nothing_is_fetched_unless_asked(small_pascal, tmp_path, capsys):
    root = tmp_path / "Datasets"
    root.mkdir()

    assert prepare.main(["pascal", "--root", str(root)]) == 1

    assert list(root.iterdir()) == []
    assert "missing   VOC2012/JPEGImages" in capsys.readouterr().out


@pytest.mark.parametrize("name", prepare.FOLDERS)
def test_an_empty_folder_is_told_where_its_files_come_from(tmp_path, capsys, name):
    assert prepare.main([name, "--root", str(tmp_path), "--workers", "1"]) == 1
    told = capsys.readouterr().out
    assert re.search(r"(from|by hand from) https?://", told)
    assert prepare.FOLDERS[name] in told
    assert "tools.prepare" not in told  # nobody is told to do what was just done
    assert told.endswith("docs/data.md shows where each file belongs.\n")


def test_icvos_counts_videos_and_names_what_is_wrong(tmp_path, capsys):
    video = tmp_path / "IC-VOS/dog"
    (video / "JPEGImages").mkdir(parents=True)
    (video / "Annotations/17").mkdir(parents=True)
    image = picture("image", np.zeros((8, 8, 3), np.uint8))
    for name in ("0", "1"):
        (video / f"JPEGImages/{name}.jpg").write_bytes(image)
    (video / "Annotations/17/0.png").touch()
    shutil.copytree(video, tmp_path / "IC-VOS/cat")
    (tmp_path / "IC-VOS/cat/Annotations/17/1.png").touch()

    assert prepare.main(["icvos", "--root", str(tmp_path)]) == 1

    printed = capsys.readouterr().out
    assert re.search(r"dog +1 +2 +100.0 +0\n", printed)  # one clip of two frames: cat's
    assert re.search(r"dog: 1 missing masks of video dog: .*17/1\.png", printed)
    assert "videos: 1 instead of 369" in printed


def test_a_folder_without_a_video_is_a_problem(tmp_path, capsys):
    (tmp_path / "IC-VOS").mkdir()

    assert prepare.main(["icvos", "--root", str(tmp_path)]) == 1
    assert "not in the layout of IC-VOS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["pascal", "--root", "absent"], "no such folder"),
        (["pascal", "--root", "file"], "not a folder"),
        (["pascal", "--root", "VOC2012"], "the folder that contains VOC2012"),
        (["pascal", "--root", ".", "--workers", "0"], "--workers"),
        (["mose", "--root", ".", "--download"], "no single public file"),
    ],
)
def test_wrong_use_is_refused(tmp_path, monkeypatch, flags, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "VOC2012").mkdir()

    with pytest.raises(UsageError, match=text):
        prepare.main(flags)


def test_the_exit_code_of_wrong_use_is_two(tmp_path, capsys):
    flags = ["pascal", "--root", str(tmp_path / "absent")]

    assert run_script(functools.partial(prepare.main, flags)) == 2
    assert capsys.readouterr().err.startswith("error: --root: no such folder")
