import pytest

from common.errors import UsageError
from common.files import write_atomically


def test_makes_the_folder_and_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "results.json"

    write_atomically(path, lambda temporary: temporary.write_text("{}"))

    assert path.read_text() == "{}"
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_the_temporary_file_lies_in_the_same_folder_with_the_same_suffix(tmp_path):
    seen = []

    def write(temporary):
        seen.append(temporary)
        temporary.write_bytes(b"1")

    write_atomically(tmp_path / "mask.png", write)

    assert seen[0].parent == tmp_path
    assert seen[0].suffix == ".png"
    assert seen[0] != tmp_path / "mask.png"


def test_a_failed_write_keeps_the_old_file_and_nothing_of_the_new(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half of the n")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_atomically(path, write)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot make the folder .*file"):
        write_atomically(tmp_path / "file" / "results.json", lambda temporary: None)

    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*folder"):
        write_atomically(tmp_path / "folder", lambda temporary: temporary.write_text("1"))
