import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.geometry import Geometry
from data.episode import read_supports
from data.episode_files import read_keys, write_keys
from data.icvos import (
    IcVos,
    Supports,
    check_shows_class,
    read_class_mask,
    support_split,
)

ITEMS = {"cats": {16: 1}, "a street": {3: 255, 1: 1}, "zoo": {22: 7}}
"""Video -> class id -> the value inside its masks."""


def write_video(folder: Path, classes: dict[int, int], frames: int = 3) -> None:
    (folder / "JPEGImages").mkdir(parents=True)
    for number in range(frames):
        Image.new("RGB", (8, 6)).save(folder / "JPEGImages" / f"{number:05}.jpg")
    for class_id, value in classes.items():
        masks = folder / "Annotations" / str(class_id)
        masks.mkdir(parents=True)
        for number in range(frames):
            pixels = np.zeros((6, 8), dtype=np.uint8)
            pixels[:2, : number + 1] = value
            Image.fromarray(pixels).save(masks / f"{number:05}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, classes in ITEMS.items():
        write_video(tmp_path / "IC-VOS" / name, classes)
    return tmp_path / "IC-VOS"


@pytest.fixture(scope="module")
def split(generated):
    return support_split(generated)


def test_lists_one_item_for_each_class_of_each_video_sorted(root: Path):
    (root / ".git").mkdir()
    (root / "README.md").write_text("a note")
    (root / "zoo" / "Annotations" / ".hidden").mkdir()
    benchmark = IcVos(root)
    assert benchmark.items == [("a street", 1), ("a street", 3), ("cats", 16), ("zoo", 22)]
    assert not benchmark.problems


@pytest.mark.parametrize(("item", "value"), [(("cats", 16), 1), (("a street", 3), 255)])
def test_reads_which_pixels_show_the_class(root: Path, item: tuple[str, int], value: int):
    video = IcVos(root).open(*item)
    assert set(np.unique(video.read_mask(2)).tolist()) == {0, value}
    marked = read_class_mask(video, 2)
    assert marked.dtype == bool
    assert marked.sum() == 6
    check_shows_class(video)


def test_what_is_wrong_with_a_video_does_not_hide_the_others(root: Path):
    shutil.rmtree(root / "cats" / "Annotations")
    (root / "zoo" / "Annotations" / "81").mkdir()
    benchmark = IcVos(root)
    assert benchmark.items == [("a street", 1), ("a street", 3)]
    assert "video cats has no folder of masks" in benchmark.problems["cats"]
    assert "zoo/Annotations/81 is not the id of a COCO class" in benchmark.problems["zoo"]


@pytest.mark.parametrize("name", ["0", "81", "03", "person"])
def test_only_ids_of_coco_classes_are_classes(tmp_path: Path, name: str):
    write_video(tmp_path / "clip", {1: 1})
    (tmp_path / "clip" / "Annotations" / "1").rename(tmp_path / "clip" / "Annotations" / name)
    with pytest.raises(UsageError, match="not the id of a COCO class"):
        IcVos(tmp_path)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no such folder of IC-VOS"):
        IcVos(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"not in the layout of IC-VOS.*it holds no folder"):
        IcVos(tmp_path)
    (tmp_path / "JPEGImages" / "480p").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"not in the layout of IC-VOS.*no folder of masks"):
        IcVos(tmp_path)


def test_missing_frames_and_masks_are_named(root: Path):
    benchmark = IcVos(root)
    (root / "cats" / "Annotations" / "16" / "00001.png").unlink()
    with pytest.raises(UsageError, match=r"1 missing masks of video cats: .*16/00001\.png"):
        benchmark.open("cats", 16)
    for path in (root / "zoo" / "JPEGImages").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=r"no frame in .*zoo/JPEGImages"):
        benchmark.open("zoo", 22)


def test_annotation_without_the_class_is_refused(root: Path):
    for path in (root / "cats" / "Annotations" / "16").iterdir():
        Image.new("L", (8, 6)).save(path)
    video = IcVos(root).open("cats", 16)
    with pytest.raises(
        UsageError, match=r"annotation without the class: .*Annotations/16 is empty"
    ):
        check_shows_class(video)


def test_a_mask_that_is_not_binary_is_named(root: Path):
    path = root / "cats" / "Annotations" / "16" / "00001.png"
    Image.fromarray(np.array([[0, 1, 2, 0]] * 6, dtype=np.uint8).repeat(2, axis=1)).save(path)
    video = IcVos(root).open("cats", 16)
    with pytest.raises(UsageError, match=r"00001\.png is not binary: it holds 1 and 2"):
        read_class_mask(video, 1)


@pytest.mark.parametrize("shots", [1, 2])
def test_supports_show_the_class(split, shots: int):
    classes = {c for shown in split.class_lists.values() for c in shown}
    supports = Supports(split, shots, seed=0)
    counts = {c: sum(c in s for s in split.class_lists.values()) for c in classes}
    class_id = next(c for c in sorted(classes) if counts[c] >= shots)
    key = supports.key("clip", class_id)
    assert (key.class_id, key.query, len(set(key.support))) == (class_id, "clip", shots)
    assert all(class_id in split.class_lists[name] for name in key.support)
    assert all(name.startswith("val2014/") for name in key.support)
    images, masks, _ = read_supports(split, key, Geometry(64))
    assert images.shape == (1, shots, 3, 64, 64)
    assert masks.shape == (1, shots, 64, 64)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert masks.flatten(2).amax(2).all()


def test_a_support_depends_on_seed_video_and_class_alone(split):
    names = [f"video {n}" for n in range(30)]
    class_id = max(
        range(1, 81), key=lambda c: sum(c in shown for shown in split.class_lists.values())
    )

    def drawn(seed: int, order: list[str]) -> dict[str, tuple[str, ...]]:
        supports = Supports(split, 1, seed)
        return {name: supports.key(name, class_id).support for name in order}

    assert drawn(0, names) == drawn(0, names[::-1])
    assert len(set(drawn(0, names).values())) > 1
    assert drawn(0, names) != drawn(1, names)


def test_supports_can_be_written_and_verified(split, tmp_path: Path):
    class_id = next(iter(split.class_lists.values()))[0]
    supports = Supports(split, 1, seed=0)
    keys = [supports.key(name, class_id) for name in ("cats", "zoo")]
    path = tmp_path / "supports.jsonl"
    write_keys(path, keys, benchmark="icvos", fold=0, seed=0)
    assert read_keys(path, benchmark="icvos", fold=0, shots=1) == keys
    path.write_text(path.read_text().replace("zoo", "ape"))
    with pytest.raises(UsageError, match="was changed"):
        read_keys(path, benchmark="icvos", fold=0, shots=1)


def test_a_class_without_enough_images_is_refused(split):
    shown = {c for classes in split.class_lists.values() for c in classes}
    missing = next(c for c in range(1, 81) if c not in shown)
    with pytest.raises(UsageError, match=rf"video clip: .*0 images of class {missing} \("):
        Supports(split, 1, seed=0).key("clip", missing)


def test_reads_real_videos(real_data: Path):
    benchmark = IcVos(real_data / "IC-VOS")
    assert benchmark.items == [("bear", 22), ("dog", 17), ("drift-straight", 3)]
    assert not benchmark.problems
    lengths = []
    for item in benchmark.items:
        video = benchmark.open(*item)
        lengths.append(len(video))
        assert video.size == (480, 854)
        assert read_class_mask(video, 0).any()
    assert lengths == [2, 24, 16]
