import json
import os
from dataclasses import replace

import pytest

from common.errors import UsageError
from labelling.records import Record, Source, read_record, read_records, record_path, write_record


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    return path


def test_a_source_is_known_by_its_content(file):
    source = Source.of(file)
    assert (source.path, source.size) == (str(file), 3)
    assert source.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    os.utime(file, (1, 1))
    assert source.is_unchanged(whole=True)
    assert source.is_unchanged(whole=False)  # another time: read to be sure


@pytest.mark.parametrize(("content", "same"), [(b"abd", False), (b"abcd", False), (b"abc", True)])
def test_a_source_that_was_replaced_is_noticed_whatever_its_time(file, content, same):
    source, then = Source.of(file), file.stat().st_mtime_ns
    file.write_bytes(content)
    for time in (then - 10**9, then, then + 10**9):
        os.utime(file, ns=(time, time))
        assert source.is_unchanged(whole=True) == same


def test_a_quick_look_trusts_size_and_time(file):
    source, then = Source.of(file), file.stat().st_mtime_ns
    file.write_bytes(b"abd")
    os.utime(file, ns=(then, then))
    assert source.is_unchanged(whole=False)
    os.utime(file, ns=(then - 1000, then - 1000))
    assert not source.is_unchanged(whole=False)


def test_a_folder_of_frames_is_known_by_all_of_them(tmp_path):
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(b"abc")
    source = Source.of(tmp_path)
    assert (source.size, source.is_unchanged(whole=True)) == (6, True)
    (tmp_path / "1.png").rename(tmp_path / "2.png")
    assert not source.is_unchanged(whole=True)


def test_what_is_gone_has_changed_and_cannot_be_looked_at(file):
    source = Source.of(file)
    file.unlink()
    assert not source.is_unchanged(whole=False)
    with pytest.raises(UsageError, match=r"cannot read .*a\.jpg"):
        Source.of(file)


def test_a_record_comes_back_as_it_was_written(tmp_path, file):
    record = Record("b/a", Source.of(file), [{"image": {}, "annotations": []}], False, True)
    write_record(tmp_path, record)
    write_record(tmp_path, replace(record, name="a.b"))
    record_path(tmp_path, "broken").write_text("{")
    assert read_record(tmp_path, "b/a") == record
    assert read_record(tmp_path, "absent") is None
    assert [name for name, _ in read_records(tmp_path)] == ["a.b", "b/a", "broken"]
    assert dict(read_records(tmp_path))["broken"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"frames": []},
        {"frames": [{"image": 1}]},
        {"source": {"path": 3, "size": "a", "modified": None, "sha256": []}},
        {"is_video": "maybe"},
        {"another": "program's"},
        {"sha256": None},
    ],
)
def test_what_nobody_here_wrote_is_no_record(tmp_path, file, change):
    write_record(tmp_path, Record("a", Source.of(file), [{"image": {}}], False, True))
    assert read_record(tmp_path, "a") is not None
    path = record_path(tmp_path, "a")
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), **change}))
    assert read_record(tmp_path, "a") is None
    for part in range(0, len(whole) - 2, 7):
        path.write_text(whole[:part])
        assert read_record(tmp_path, "a") is None
