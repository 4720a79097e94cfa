"""The published episodes of rule-made lists, as the released program of SINE draws them."""

import json

import pytest

from data.legacy_draws import legacy_keys
from tests.conftest import ROOT

GOLDEN = json.loads((ROOT / "tests/golden/values/sine/protocol.json").read_text())
FOLD = GOLDEN["fold"]
COCO = {c: [f"val2014/c{c:02d}_{n:03d}.jpg" for n in range(10 + c)] for c in range(FOLD, 80, 4)}
PASCAL: dict[int, list[str]] = {}
for _row in range(60):
    PASCAL.setdefault(5 * FOLD + _row**2 % 5, []).append(f"2007_{_row:06d}")
FSS = {
    760 + place: [f"{name}/{n}.jpg" for n in sorted(range(1, 11), key=str)]
    for place, name in enumerate(("apple", "mug", "zebra"))
}
LVIS_IMAGES = {
    c: [f"val2017/c{c:02d}_{n:02d}.jpg" for n in range(1 + 7 * c % 5)] for c in range(1, 61)
}


def lvis_fold(shots: int) -> dict[int, list[str]]:
    enough = [c for c, images in LVIS_IMAGES.items() if len(images) > shots]
    return {c: LVIS_IMAGES[c] for c in enough[FOLD::10][: len(enough) // 10]}


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize(
    ("name", "sampler", "count"),
    [
        ("coco", "class_legacy", 12),
        ("pascal", "image_legacy", 70),
        ("lvis", "turns_legacy", 12),
        ("fss1000", "queries_legacy", 30),
    ],
)
def test_the_published_episodes_are_drawn(name, sampler, count, shots):
    stored = GOLDEN[f"shots{shots}"]
    expected = stored[name]
    supports = len(expected[0][2])  # of LVIS 3 instead of 5
    images = {"coco": COCO, "pascal": PASCAL, "lvis": lvis_fold(supports), "fss1000": FSS}[name]
    if name == "lvis":
        assert list(images) == stored["lvis_classes"]

    keys = legacy_keys(sampler, images, supports, GOLDEN["seed"], count)

    found = [[key.class_id, key.query, list(key.support)] for key in keys]
    half = len(expected) // 2  # the file has the first and the last ones
    assert [*found[:half], *found[-half:]] == expected


def test_of_pascal_part_no_support_comes_twice():
    images = {c: [f"{c}_{n}.jpg" for n in range(4)] for c in (3, 5)}
    again, apart = (
        legacy_keys(sampler, images, 3, 0, 20) for sampler in ("turns_legacy", "turns_apart_legacy")
    )
    assert [key.class_id for key in apart] == [3, 5] * 10
    assert all(len({key.query, *key.support}) == 4 for key in apart)
    assert any(len(set(key.support)) < 3 for key in again)
    assert (apart[0].query, apart[0].support[0]) == (again[0].query, again[0].support[0])
