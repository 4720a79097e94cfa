import json
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from common.errors import UsageError
from labelling.objects import Labels
from tests.helpers import coloured_cells

pytest.importorskip("pyarrow", reason="requirements-cluster.txt is not installed")
import fsspec
import pyarrow as pa
from pyarrow import parquet

from labelling.rows import RowResults, ShardFolder, StoredPicture, table_of
from labelling.shards import (
    PARQUET,
    PICTURES,
    TAR,
    Found,
    Storage,
    cut_into_shards,
    list_files,
    read_plan,
    unreadable_parquet,
    write_plan,
)

CLASSES = {4: "dog", 9: "cat"}


@pytest.fixture
def photos(tmp_path):
    """Five pictures, one of them in a folder below, and files of other kinds."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "c.png", "d.png", "more/e.png")):
        Image.fromarray(coloured_cells(number, (10, 8))).save(folder / name)
    for name in ("notes.txt", ".hidden.png", "_SUCCESS", "walk.mp4"):
        (folder / name).write_bytes(b"")
    return folder


def shards_of(photos, known=(), size=2):
    _, found = list_files([str(photos)], photos / "out")
    return cut_into_shards(found, dict(known), size)


def names_in(shard):
    return [os.path.basename(one.path) for one in shard.files]


def test_folders_are_cut_into_shards_in_the_order_of_names(photos):
    shards = shards_of(photos)
    assert [names_in(shard) for shard in shards] == [
        ["a.png", "b.png"],
        ["c.png", "d.png"],
        ["e.png"],
    ]
    assert [shard.number for shard in shards] == [0, 1, 2]
    assert {shard.kind for shard in shards} == {PICTURES}
    assert [shard.name for shard in shards_of(photos)] == [shard.name for shard in shards]


def test_parquet_and_tar_files_are_shards_of_their_own():
    found = [Found(name, 1, 0) for name in ("a.png", "b.parquet", "c.tar", "d.png", "e.parquet")]
    shards = cut_into_shards(found, {}, 10)
    kinds = [(shard.kind, names_in(shard)) for shard in shards]
    assert kinds == [
        *((PICTURES, ["a.png", "d.png"]), (PARQUET, ["b.parquet"]), (PARQUET, ["e.parquet"])),
        (TAR, ["c.tar"]),
    ]


def test_a_shard_keeps_its_pictures_when_others_come_go_or_change(photos, tmp_path):
    before = shards_of(photos)
    write_plan(tmp_path / "plan.parquet", before)
    Image.new("RGB", (4, 4)).save(photos / "aa.png")  # would come second
    (photos / "d.png").unlink()
    Image.new("RGB", (5, 5)).save(photos / "more" / "e.png")

    after = shards_of(photos, read_plan(tmp_path / "plan.parquet"))

    assert [names_in(s) for s in after] == [["a.png", "b.png"], ["c.png"], ["e.png"], ["aa.png"]]
    assert after[0].name == before[0].name
    assert {shard.name for shard in after[1:]}.isdisjoint(shard.name for shard in before)


def test_other_file_systems_are_asked_through_fsspec(photos, tmp_path):
    memory = fsspec.filesystem("memory")  # pyarrow knows no such scheme
    memory.put(str(photos), "/bucket/photos", recursive=True)
    storage, found = list_files(["memory://bucket/photos"], tmp_path / "out")
    memory.rm("/bucket", recursive=True)
    assert storage.prefix == "memory://"
    assert [os.path.basename(one.path) for one in found] == [f"{name}.png" for name in "abcde"]
    assert {one.size for one in found} == {
        path.stat().st_size for path in photos.rglob("[a-e].png")
    }


def test_a_missing_picture_of_a_storage_is_told_by_its_name(photos):
    storage = Storage.of(f"file://{photos}")
    assert storage.read(storage.path(f"file://{photos}/a.png")) == (photos / "a.png").read_bytes()
    with pytest.raises(UsageError, match=f"no such image: {photos}/none"):
        storage.read(f"{photos}/none")


def test_what_cannot_be_listed_is_told(photos, tmp_path):
    with pytest.raises(UsageError, match=r"no picture, Parquet or tar file found: .*nowhere"):
        list_files([str(photos), str(tmp_path / "nowhere")], tmp_path / "out")
    with pytest.raises(UsageError, match="different storages"):
        list_files([str(photos), "s3://bucket"], tmp_path / "out")
    with pytest.raises(UsageError, match="cannot open nothing://at/all"):
        list_files(["nothing://at/all"], tmp_path / "out")
    (tmp_path / "plan.parquet").write_bytes(b"no plan")
    with pytest.raises(UsageError, match=r"plan\.parquet cannot be read"):
        read_plan(tmp_path / "plan.parquet")


def test_broken_parquet_files_and_missing_columns_are_found_before_work_begins(tmp_path):
    parquet.write_table(pa.table({"image": [b"1"]}), tmp_path / "good.parquet")
    (tmp_path / "worse.parquet").write_bytes(b"PAR1")
    storage, found = list_files([str(tmp_path)], tmp_path / "out")
    good, worse = cut_into_shards(found, {}, 1)
    broken = unreadable_parquet(storage, [good, worse], "image")
    assert [*broken] == [worse]
    assert "worse.parquet" in broken[worse]
    with pytest.raises(UsageError, match=r"good\.parquet has no column photo, but image"):
        unreadable_parquet(storage, [good], "photo")


def labelled_rows(photos):
    """The rows of two pictures: a dog of 2 x 3 pixels in one, the other broken."""
    storage = Storage.of(str(photos))
    results = RowResults(storage, CLASSES, calibrated=True, instances=True)
    picture = StoredPicture(str(photos / "a.png"), str(photos / "a.png"))
    broken = StoredPicture("broken", content=b"no")
    source, file = results.open(picture)
    assert str(file) == str(photos / "a.png")
    labels = np.zeros((8, 10), dtype=np.uint8)
    labels[1:3, 4:7] = 4
    numbers = (labels > 0).astype(np.int32)
    results.write(picture, source, Labels(labels, {4: 0.75, 9: 0.25}, numbers, [4]))
    results.fail(broken, UsageError("cannot read the image broken"))
    return table_of([results.rows[picture], results.rows[broken]])


def test_rows_say_what_was_found_and_what_could_not_be_read(photos):
    good, broken = labelled_rows(photos).to_pylist()
    assert (good["height"], good["width"], good["bytes"]) == (
        *(8, 10),
        (photos / "a.png").stat().st_size,
    )
    assert good["scores"] == [{"class": "dog", "score": 0.75}, {"class": "cat", "score": 0.25}]
    [annotation] = good["annotations"]
    assert (annotation["area"], annotation["bbox"]) == (6, [4, 1, 3, 2])
    assert (annotation["category_id"], annotation["instance"]) == (4, 1)
    assert (good["error"], broken["error"]) == (None, "cannot read the image broken")
    assert broken["annotations"] is broken["height"] is None


def test_a_shard_is_done_once_both_of_its_files_are_there(photos, tmp_path):
    first, second, _ = shards_of(photos)
    folder = ShardFolder(tmp_path / "out", CLASSES, calibrated=True)
    rows = labelled_rows(photos)
    for shard in (first, second):
        assert not folder.is_done(shard)
        folder.write(shard, rows)
        assert folder.is_done(shard)
    assert folder.failures([first, second]) == 2

    ids = []
    for shard in (first, second):
        coco_file, table = folder.files(shard)
        assert parquet.read_table(table).equals(rows)
        coco = COCO(coco_file)  # broken pictures are no images
        [image], [annotation] = coco.dataset["images"], coco.dataset["annotations"]
        assert image["presence"] == {"dog": 0.75, "cat": 0.25}
        assert coco.annToMask(annotation)[1:3, 4:7].sum() == annotation["area"] == 6
        assert annotation["image_id"] == image["id"]
        ids.append(image["id"])
    assert ids == [1, 100_000_001]  # of all shards together, too

    table.unlink()
    assert not folder.is_done(second)
    folder.write(second, rows)
    again = table.read_bytes(), coco_file.read_bytes()
    folder.write(second, rows)
    assert (table.read_bytes(), coco_file.read_bytes()) == again


def test_results_of_other_shards_and_what_a_kill_left_are_cleared(photos, tmp_path):
    first, second, _ = shards_of(photos)
    folder = ShardFolder(tmp_path / "out", CLASSES, calibrated=False)
    rows = table_of([{"name": "a", "error": "broken"}])
    for shard in (first, second):
        folder.write(shard, rows)
    (folder.path / "parquet" / ".half.parquet").write_bytes(b"half")
    folder.clear([first])
    left = {path for path in folder.path.rglob("*") if path.is_file()}
    assert left == {*folder.files(first)}
    assert json.loads(folder.files(first)[0].read_text())["images"] == []
