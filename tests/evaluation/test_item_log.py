import pytest

from common.errors import UsageError
from evaluation.item_log import ItemLog


def test_records_of_all_processes_are_joined_and_sorted(tmp_path):
    ItemLog(tmp_path / "out", 0).append([{"item": "b", "jf": 0.1}])
    ItemLog(tmp_path / "out", 2).append([{"item": "c"}, {"item": "a"}])
    assert (tmp_path / "out" / "items-2.jsonl").is_file()
    found = ItemLog(tmp_path / "out").join()
    assert found == {"a": {"item": "a"}, "b": {"item": "b", "jf": 0.1}, "c": {"item": "c"}}
    assert list(found) == ["a", "b", "c"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["items.jsonl"]
    assert ItemLog(tmp_path / "out").join() == found


def test_an_empty_folder_has_no_records(tmp_path):
    assert ItemLog(tmp_path / "nowhere").join() == {}
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_last_line_that_was_cut_is_no_record(tmp_path, kept: int):
    log = ItemLog(tmp_path)
    log.append([{"item": "a"}])
    with log.path.open("a") as file:
        file.write('{"item": "b"}'[:kept])
    assert list(log.join()) == ["a"]
    log.append([{"item": "b"}])
    assert list(log.join()) == ["a", "b"]


def test_a_failure_counts_only_until_the_item_is_finished(tmp_path):
    failed, done = {"item": "a", "error": "no frame"}, {"item": "a", "jf": 1.0}
    log = ItemLog(tmp_path)
    log.append([failed])
    assert log.join() == {"a": failed}
    log.append([{"item": "a", "error": "no mask"}])
    assert log.join() == {"a": {"item": "a", "error": "no mask"}}
    log.append([done])
    log.append([failed])
    assert log.join() == {"a": done}


@pytest.mark.parametrize("line", ["not json", "[]", '{"jf": 1}'])
def test_another_file_is_refused(tmp_path, line: str):
    (tmp_path / "items.jsonl").write_text(f'{line}\n{{"item": "a"}}\n')
    with pytest.raises(UsageError, match=r"items\.jsonl holds a line that is no record"):
        ItemLog(tmp_path).join()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*items\.jsonl"):
        ItemLog(tmp_path / "file" / "out").append([{"item": "a"}])
