from collections import Counter
from types import SimpleNamespace

import pytest

from common.errors import UsageError
from data.episode_files import episode_hash, read_header, read_keys, write_keys
from data.sampler import EpisodeSampler


def made_up_split(class_lists, sampler="image"):
    classes = tuple(sorted({c for shown in class_lists.values() for c in shown}))
    return SimpleNamespace(
        class_lists=class_lists,
        classes=classes,
        class_names={c: f"class {c}" for c in classes},
        benchmark="pascal",
        fold=0,
        role="test",
        sampler=sampler,
    )


@pytest.fixture
def split():
    return made_up_split({f"image{n}": (1 + n % 3, 4) if n % 2 else (4,) for n in range(24)})


@pytest.mark.parametrize("sampler", ["class", "image"])
@pytest.mark.parametrize("shots", [1, 3])
def test_supports_are_other_images_of_the_class(split, shots, sampler):
    split = made_up_split(split.class_lists, sampler)
    for key in EpisodeSampler(split, shots, seed=0).evaluation_keys(200):
        assert len({key.query, *key.support}) == shots + 1
        assert all(key.class_id in split.class_lists[n] for n in (key.query, *key.support))


def test_every_image_is_the_query_once_in_a_cycle(split):
    keys = EpisodeSampler(split, 1, seed=0).evaluation_keys(48)
    for cycle in (keys[:24], keys[24:]):
        assert {key.query for key in cycle} == set(split.class_lists)
    assert [k.query for k in keys[:24]] != [k.query for k in keys[24:]]


def test_classes_and_supports_are_drawn_uniformly():
    split = made_up_split({f"{n}": (1, 2) for n in range(4)})
    keys = EpisodeSampler(split, 1, seed=0).evaluation_keys(4000)
    assert 1900 < sum(key.class_id == 1 for key in keys) < 2100
    supports = [key.support[0] for key in keys if key.query == "1"]
    assert sorted(set(supports)) == ["0", "2", "3"]
    assert all(280 < supports.count(name) < 390 for name in set(supports))


@pytest.fixture(scope="module")
def skewed():
    """Class 1 in 300 images, class 2 in 30, class 3 in 3: 90.1, 9.0 and 0.9 % of the images."""
    counts = {1: 300, 2: 30, 3: 3}
    shown = {f"{c}-{n}": (c,) for c, count in counts.items() for n in range(count)}
    return made_up_split(shown, "class")


def test_a_class_drawn_first_is_as_frequent_as_any_other(skewed):
    keys = EpisodeSampler(skewed, 2, seed=0).evaluation_keys(1000)
    counts = Counter(key.class_id for key in keys)
    # 333 are expected with a standard deviation of 15
    assert all(270 < counts[c] < 400 for c in (1, 2, 3))
    rare = Counter(key.query for key in keys if key.class_id == 3)
    assert all(80 < rare[f"3-{n}"] < 145 for n in range(3))
    assert len({key.query for key in keys if key.class_id == 1}) > 150


def test_an_image_drawn_first_follows_the_frequency_of_classes(skewed):
    by_image = made_up_split(skewed.class_lists)
    keys = EpisodeSampler(by_image, 2, seed=0).evaluation_keys(333)
    assert Counter(key.class_id for key in keys) == {1: 300, 2: 30, 3: 3}


def test_one_shot_and_five_shots_have_the_same_queries():
    split = made_up_split({f"{n}": (1, 2) for n in range(9)}, "class")
    one, five = (EpisodeSampler(split, shots, seed=0).evaluation_keys(50) for shots in (1, 5))
    assert [(k.class_id, k.query) for k in one] == [(k.class_id, k.query) for k in five]


@pytest.mark.parametrize("sampler", ["class", "image"])
def test_episodes_depend_on_seed_and_epoch_alone(sampler, split):
    split = made_up_split(split.class_lists, sampler)
    sampler = EpisodeSampler(split, 2, seed=7)
    assert sampler.training_keys(3) == EpisodeSampler(split, 2, seed=7).training_keys(3)
    assert len(sampler.training_keys(0)) == 24
    different = [
        sampler.training_keys(3),
        sampler.training_keys(4),
        sampler.evaluation_keys(24),
        EpisodeSampler(split, 2, seed=8).training_keys(3),
    ]
    assert len({episode_hash(keys) for keys in different}) == 4


@pytest.mark.parametrize("sampler", ["class", "image"])
def test_more_evaluation_episodes_begin_with_the_same_ones(split, sampler):
    sampler = EpisodeSampler(made_up_split(split.class_lists, sampler), 1, seed=0)
    assert sampler.evaluation_keys(60)[:10] == sampler.evaluation_keys(10)


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("image", "7bdcde2822897209febddd20d2f14f8eb9ed2e024d4f4fc47a3f41967e4b2b8f"),
        ("class", "d49cc36925e3ef69397161d132773ace3d98b6d93ccc757824247531c13c6bb6"),
    ],
)
def test_the_first_episodes_of_seed_zero_never_change(split, sampler, expected):
    split = made_up_split(split.class_lists, sampler)
    assert episode_hash(EpisodeSampler(split, 1, seed=0).evaluation_keys(100)) == expected


def test_a_class_with_too_few_images_is_refused_or_left_out():
    split = made_up_split({"a": (1, 2), "b": (1,), "c": (1,), "d": (2,), "e": (3,)})
    with pytest.raises(UsageError, match=r"at least 3 .*2 \(class 2\): 2, 3 \(class 3\): 1"):
        EpisodeSampler(split, 2, seed=0)
    sampler = EpisodeSampler(split, 2, seed=0, leave_out_rare=True)
    assert sampler.left_out == {2: 2, 3: 1}
    assert {(k.class_id, k.query) for k in sampler.training_keys(0)} == {
        (1, "a"),
        (1, "b"),
        (1, "c"),
    }
    with pytest.raises(UsageError, match="at least 6 images"):
        EpisodeSampler(split, 5, seed=0, leave_out_rare=True)


def test_a_written_file_is_read_back(split, tmp_path):
    keys = EpisodeSampler(split, 2, seed=0).evaluation_keys(20)
    path = tmp_path / "episodes.jsonl"
    write_keys(path, keys, benchmark="pascal", fold=0, seed=0)
    assert read_keys(path, benchmark="pascal", fold=0, shots=2) == keys


def test_a_file_says_what_drew_its_episodes(skewed, tmp_path):
    keys = EpisodeSampler(skewed, 1, seed=4).evaluation_keys(5)
    path = tmp_path / "episodes.jsonl"
    write_keys(path, keys, benchmark="coco", fold=2, seed=4, sampler="class")
    header = read_header(path)
    assert (header.sampler, header.seed, header.episodes) == ("class", 4, 5)
    assert read_keys(path, benchmark="coco", fold=2, shots=1, sampler="class") == keys
    with pytest.raises(UsageError, match="sampler class instead of image"):
        read_keys(path, benchmark="coco", fold=2, shots=1, sampler="image")


def test_a_file_that_names_no_sampler_is_drawn_by_image(split, tmp_path):
    keys = EpisodeSampler(split, 1, seed=0).evaluation_keys(3)
    path = tmp_path / "episodes.jsonl"
    write_keys(path, keys, benchmark="coco", fold=0, seed=0)
    assert "sampler" not in path.read_text()
    assert read_header(path).sampler == "image"
    assert read_keys(path, benchmark="coco", fold=0, shots=1, sampler="image") == keys
    with pytest.raises(UsageError, match="sampler image instead of class"):
        read_keys(path, benchmark="coco", fold=0, shots=1, sampler="class")


def test_files_that_do_not_fit_are_refused(split, tmp_path):
    keys = EpisodeSampler(split, 2, seed=0).evaluation_keys(20)
    path = tmp_path / "episodes.jsonl"
    write_keys(path, keys, benchmark="pascal", fold=0, seed=0)
    with pytest.raises(UsageError, match="made for benchmark pascal instead of coco, fold 0"):
        read_keys(path, benchmark="coco", fold=1, shots=2)
    with pytest.raises(UsageError, match="shots 2 instead of 1"):
        read_keys(path, benchmark="pascal", fold=0, shots=1)

    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(UsageError, match="was changed"):
        read_keys(path, benchmark="pascal", fold=0, shots=2)
    for text in ("", "not json\n", "[]\n", f"{lines[0]}\n[1]\n"):
        path.write_text(text)
        with pytest.raises(UsageError, match="not an episode file"):
            read_keys(path, benchmark="pascal", fold=0, shots=2)
    with pytest.raises(UsageError, match="cannot read the episode file"):
        read_keys(tmp_path / "nowhere", benchmark="pascal", fold=0, shots=2)
