"""Golden sets say what they lack, and comparisons fail where they must."""

import re

import pytest
from safetensors.torch import save_file

from tests.golden.fill import fill, image
from tests.golden.golden_set import (
    REPOSITORY_SET,
    TOLERANCE,
    Case,
    GoldenSet,
    Weights,
    assert_agrees,
    assert_close,
)

OURS = GoldenSet(REPOSITORY_SET)
FILES = sorted(path.stem for path in REPOSITORY_SET.glob("*.safetensors"))


def test_the_fill_rule_gives_the_same_numbers_here():
    for name, expected in OURS.json("fillcheck.json").items():
        image_of = re.fullmatch(r"image\((.+),(\d)\)", name)
        values = image(image_of[1], int(image_of[2])) if image_of else fill(name, expected["shape"])
        assert values.flatten()[:4].tolist() == pytest.approx(expected["first4"], abs=1e-6), name
        assert values.mean().item() == pytest.approx(expected["mean"], abs=1e-6), name
        assert values.std().item() == pytest.approx(expected["std"], abs=1e-6), name


def changed(values: Weights, name: str, by: float) -> Weights:
    """The same but for one value of a tensor."""
    tensor = values[name].clone()
    tensor.view(-1)[-1] += by
    return {**values, name: tensor}


@pytest.mark.parametrize("file", FILES)
def test_a_tensor_deleted_from_a_copy_of_a_file_is_missed(file, tmp_path):
    found = OURS.tensors(file)
    for name in (min(found), max(found)):
        rest = {n: value for n, value in found.items() if n != name}
        save_file(rest, tmp_path / f"{file}.safetensors")
        expected = GoldenSet(tmp_path).tensors(file)
        with pytest.raises(AssertionError, match=re.escape(f"golden file lacks ['{name}']")):
            assert_close(found, expected)
        with pytest.raises(AssertionError, match=re.escape(f"not computed: ['{name}']")):
            assert_close(expected, found)


@pytest.mark.parametrize("file", FILES)
def test_one_value_of_every_tensor_changed_by_ten_tolerances_is_seen(file, tmp_path):
    found = OURS.tensors(file)
    assert_close(found, found)
    wrong = found
    for name in (names := [n for n, value in found.items() if value.is_floating_point()]):
        wrong = changed(wrong, name, 10 * TOLERANCE)
    save_file(wrong, tmp_path / f"{file}.safetensors")
    with pytest.raises(AssertionError) as failure:
        assert_close(found, GoldenSet(tmp_path).tensors(file))
    assert all(f"{name} differs by 1.00e-03" in str(failure.value) for name in names)


def test_values_that_are_no_numbers_are_seen():
    expected = OURS.tensors("sam1", "decode/")
    with pytest.raises(AssertionError, match="iou differs by nan"):
        assert_close(changed(expected, "iou", float("nan")), expected)


def test_only_a_flipped_decision_loosens_what_follows_from_it():
    expected = OURS.tensors("prompt_resnet50_samv1", "b1_0/")
    flipped = changed(expected, "keep_s1_pos", 1 - 2 * int(expected["keep_s1_pos"].view(-1)[-1]))
    after = {"pos1": 10 * TOLERANCE}

    assert_agrees(changed(flipped, "pos1", 5 * TOLERANCE), expected, after)
    for wrong in (
        changed(expected, "pos1", 5 * TOLERANCE),
        changed(flipped, "neg1", 5 * TOLERANCE),
        changed(flipped, "pos1", 50 * TOLERANCE),
        {**expected, "keep_s1_pos": 1 - expected["keep_s1_pos"]},
    ):
        with pytest.raises(AssertionError):
            assert_agrees(wrong, expected, after)


def test_what_another_set_lacks_is_skipped_by_name(tmp_path):
    other = GoldenSet(tmp_path)
    for read in (other.json, other.file):
        with pytest.raises(pytest.skip.Exception, match=re.escape(str(tmp_path / "metrics.json"))):
            read("metrics.json")
    with pytest.raises(pytest.skip.Exception, match=re.escape(str(tmp_path / "sam1.safetensors"))):
        other.tensors("sam1", "decode/")


def test_lists_of_tensors_come_from_the_repository_where_another_set_lacks_them(tmp_path):
    (tmp_path / "case.json").write_bytes(OURS.file("case.json").read_bytes())
    assert Case.of(GoldenSet(tmp_path)).names("sam1_small_vit192")


def test_nothing_of_the_repositorys_set_is_skipped():
    with pytest.raises(pytest.fail.Exception, match=r"lacks .*values/absent.json"):
        OURS.file("absent.json")
    with pytest.raises(pytest.fail.Exception, match=r"lacks absent/\*"):
        OURS.tensors("sam1", "absent/")
