"""Benchmarks whose masks are black and white: which image is of which class, and its mask."""

import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from data.benchmarks import TESTED_ONLY, Split
from data.sampler import EpisodeSampler


def split_of(root, benchmark, **options) -> Split:
    reader = TESTED_ONLY[benchmark]
    return Split(reader(root / reader.folder, **options), images="test", classes="test")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def picture(path, size=(6, 4)):
    save(path, np.full((size[1], size[0], 3), 90))


def half(value, size=(6, 4)):
    """A mask whose left half has a value."""
    mask = np.zeros((size[1], size[0]))
    mask[:, : size[0] // 2] = value
    return mask


@pytest.fixture
def isic(tmp_path):
    """Two images of the first diagnosis and one of the third."""
    root = tmp_path / "ISIC2018"
    for place in ("1/ISIC_0000003", "1/ISIC_0000001", "3/ISIC_0000002"):
        picture(root / "ISIC2018_Task1-2_Training_Input" / f"{place}.jpg")
        name = f"{place.partition('/')[2]}_segmentation.png"
        save(root / "ISIC2018_Task1_Training_GroundTruth" / name, half(255))
    return tmp_path


def test_the_folder_of_an_image_of_isic_is_its_class(isic):
    split = split_of(isic, "isic2018")
    lists = {"1/ISIC_0000001": (1,), "1/ISIC_0000003": (1,), "3/ISIC_0000002": (3,)}
    assert split.class_lists == lists
    assert list(split.class_lists) == sorted(lists)
    assert split.class_names[3] == "melanoma"
    image, mask = split.read_class("3/ISIC_0000002", 3)
    assert image.shape == (4, 6, 3)
    assert np.array_equal(mask, half(1))
    assert not split.read_class("3/ISIC_0000002", 1)[1].any()


def test_a_mask_counts_from_128_on(tmp_path):
    picture(tmp_path / "ChestXray" / "CXR_png" / "CHNCXR_0001_0.png")
    save(
        tmp_path / "ChestXray" / "masks" / "CHNCXR_0001_0_mask.png", [[127, 128, 0, 0, 255, 9]] * 4
    )
    split = split_of(tmp_path, "chest_xray")
    assert list(split.class_lists) == ["CHNCXR_0001_0"]
    assert split.read_class("CHNCXR_0001_0", 1)[1][0].tolist() == [0, 1, 0, 0, 1, 0]


def test_x_rays_without_a_mask_do_not_count(tmp_path):
    root = tmp_path / "ChestXray"
    for name in ("CHNCXR_0001_0", "MCUCXR_0001_0", "CHNCXR_0025_0"):
        picture(root / "CXR_png" / f"{name}.png")
    save(root / "masks" / "CHNCXR_0001_0_mask.png", half(255))
    save(root / "masks" / "MCUCXR_0001_0.png", half(255))
    names = list(split_of(tmp_path, "chest_xray").class_lists)
    assert names == ["CHNCXR_0001_0", "MCUCXR_0001_0"]


@pytest.fixture
def perseg(tmp_path):
    """Three pictures of a dog and two of another, with dark red masks."""
    for name, count in (("dog", 3), ("dog2", 2)):
        for number in range(count):
            picture(tmp_path / "PerSeg" / "Images" / name / f"{number:02d}.jpg")
            colours = half(1)[..., None] * [128, 0, 0]
            save(tmp_path / "PerSeg" / "Annotations" / name / f"{number:02d}.png", colours)
    return tmp_path


def test_the_first_picture_of_an_object_is_the_reference_of_all_others(perseg):
    split = split_of(perseg, "perseg")
    assert split.class_names == {1: "dog", 2: "dog (2)"}
    keys = EpisodeSampler(split, 1, seed=0).evaluation_keys(None)
    found = [(key.class_id, key.query, *key.support) for key in keys]
    assert found == [
        (1, "dog/01", "dog/00"),
        (1, "dog/02", "dog/00"),
        (2, "dog2/01", "dog2/00"),
    ]
    assert EpisodeSampler(split, 1, seed=5).evaluation_keys(None) == keys
    assert EpisodeSampler(split, 1, seed=0).evaluation_keys(5) == [*keys, *keys[:2]]
    assert np.array_equal(split.read_class("dog2/01", 2)[1], half(1))


def test_more_references_are_the_next_pictures(perseg):
    sampler = EpisodeSampler(split_of(perseg, "perseg"), 2, seed=0, leave_out_rare=True)
    [key] = sampler.evaluation_keys(None)
    assert (key.query, key.support) == ("dog/02", ("dog/00", "dog/01"))
    assert sampler.left_out == {2: 2}


def test_each_object_of_permis_has_its_own_reference(tmp_path):
    for video in ("a", "b"):
        for frame in ("00000", "00008"):
            picture(tmp_path / "PerMIS" / video / f"{frame}.jpg")
            for number in (1, 2):
                mask = half(255) if number == 1 else 255 - half(255)
                save(tmp_path / "PerMIS" / video / f"{frame}_{number}.png", mask)
    split = split_of(tmp_path, "permis")
    keys = EpisodeSampler(split, 1, seed=0).evaluation_keys(None)
    assert [(key.class_id, key.query, *key.support) for key in keys] == [
        (1, f"{video}/{number}/00008", f"{video}/{number}/00000")
        for video in ("a", "b")
        for number in (1, 2)
    ]
    assert np.array_equal(split.read_class("a/2/00008", 1)[1], 1 - half(1))
    short = EpisodeSampler(split, 2, seed=0)
    with pytest.raises(UsageError, match="no folder of permis has 3 images"):
        short.evaluation_keys(None)


def test_what_is_wrong_is_told(isic, tmp_path):
    split = split_of(isic, "isic2018")
    masks = tmp_path / "ISIC2018" / "ISIC2018_Task1_Training_GroundTruth"
    save(masks / "ISIC_0000001_segmentation.png", half(255, (5, 4)))
    with pytest.raises(UsageError, match=r"sizes differ .*ISIC_0000001_segmentation.png"):
        split.read_class("1/ISIC_0000001", 1)
    (masks / "ISIC_0000003_segmentation.png").unlink()
    with pytest.raises(UsageError, match="no such mask"):
        split.read_class("1/ISIC_0000003", 1)
    with pytest.raises(UsageError, match="no image 2/ISIC_0000009"):
        split.read_class("2/ISIC_0000009", 2)
    (tmp_path / "ChestXray" / "masks").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"lacks CXR_png.*tools.prepare chest_xray"):
        split_of(tmp_path, "chest_xray")
    (tmp_path / "ChestXray" / "CXR_png").mkdir()
    with pytest.raises(UsageError, match="has no images with masks"):
        _ = split_of(tmp_path, "chest_xray").class_lists
