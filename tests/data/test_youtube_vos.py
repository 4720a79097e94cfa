import json
from pathlib import Path

import pytest

from common.errors import UsageError
from data.object_items import ObjectsItems
from data.synthetic.video_sets import write_youtube_vos
from data.youtube_vos import TRAINING_CATEGORIES, YouTubeVos


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """Two videos of eleven frames in each split, three of them annotated."""
    root = tmp_path_factory.mktemp("data") / "YouTube-VOS"
    write_youtube_vos(root, videos=2, frames=11, seed=1, workers=0)
    return root


def test_the_training_has_65_categories():
    assert len(TRAINING_CATEGORIES) == 65


@pytest.mark.parametrize(("all_frames", "asked"), [(False, {0, 1, 2}), (True, {0, 5, 10})])
def test_objects_are_given_where_they_appear(generated, all_frames, asked):
    benchmark = YouTubeVos(generated, all_frames=all_frames)
    assert benchmark.videos == ["video_0001", "video_0002"]
    later = 0
    for name in benchmark.videos:
        found = benchmark.objects(name)
        assert len(found.video) == (11 if all_frames else 3)
        assert found.asked == asked
        first = found.video.read_mask(0)
        for number, frame in found.given.items():
            assert (number in first) == (frame == 0)
            assert number in found.video.read_mask(frame)
            later += frame == sorted(asked)[1]
        # of valid there are only the masks by which objects are given
        assert not found.complete
        assert set(found.video.masks) == set(found.given.values())
    assert later


def test_train_has_all_masks_and_categories_are_seen_or_not(generated):
    benchmark = YouTubeVos(generated, "train")
    meta = json.loads((generated / "train" / "meta.json").read_text())["videos"]
    for name in benchmark.videos:
        found = benchmark.objects(name)
        assert list(found.video.masks) == [0, 1, 2]
        assert found.complete
        for number, facts in found.facts.items():
            assert facts["category"] == meta[name]["objects"][str(number)]["category"]
            assert facts["seen"] == (facts["category"] in TRAINING_CATEGORIES)


def test_masks_go_where_the_server_looks(generated):
    item = ObjectsItems(YouTubeVos(generated)).open("video_0001")
    assert item.mask_folder == Path("Annotations", "video_0001")
    assert [item.is_asked(n) for n in range(3)] == [True] * 3
    every = ObjectsItems(YouTubeVos(generated, all_frames=True)).open("video_0001")
    assert [n for n in range(11) if every.is_asked(n)] == [0, 5, 10]


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (None, "cannot read the objects"),
        ("{}", "does not list objects"),
        ('{"videos": {}}', "lists no video"),
        ('{"videos": {"ghost": {"objects": {}}}}', "without frames in .*ghost"),
        ("7", "does not list objects"),
    ],
)
def test_wrong_lists_are_refused(generated, tmp_path, meta, words):
    part = tmp_path / "valid"
    part.mkdir()
    for folder in ("JPEGImages", "Annotations"):
        (part / folder).symlink_to(generated / "valid" / folder)
    if meta is not None:
        (part / "meta.json").write_text(meta)
    with pytest.raises(UsageError, match=words):
        YouTubeVos(tmp_path)


def test_an_object_without_a_mask_is_named(generated, tmp_path):
    part = tmp_path / "valid"
    part.mkdir()
    for folder in ("JPEGImages", "Annotations"):
        (part / folder).symlink_to(generated / "valid" / folder)
    objects = {"9": {"category": "dog", "frames": ["00000"]}}
    (part / "meta.json").write_text(json.dumps({"videos": {"video_0001": {"objects": objects}}}))
    with pytest.raises(UsageError, match="video video_0001 without a mask: 9"):
        YouTubeVos(tmp_path).objects("video_0001")


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UsageError, match="not in the layout of YouTube-VOS"):
        YouTubeVos(tmp_path)


def test_masks_of_beginnings_alone_are_no_truth(tmp_path):
    # every annotated frame is one on which an object begins: masks show only what begins there
    write_youtube_vos(tmp_path / "drawn", videos=1, frames=6, seed=0, workers=0)
    objects = YouTubeVos(tmp_path / "drawn").objects("video_0001")
    assert (
        objects.asked == set(objects.given.values()) == {0, 1}
    )  # of the frames there, every fifth
    assert not objects.complete
