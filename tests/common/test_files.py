import os
import re
import subprocess
import sys
import tempfile

import pytest
import torch

from common.checkpoint import save_checkpoint
from common.errors import UsageError
from common.files import remove_leftovers, temporary_beside, write_atomically


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


def replace_by_a_private_file(place):
    """Write as libraries do that make a temporary file of their own."""
    handle, name = tempfile.mkstemp(dir=place.parent)
    os.close(handle)
    os.replace(name, place)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_others_may_read_a_file_as_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "plain", lambda place: place.write_text("1"))
        write_atomically(tmp_path / "private", replace_by_a_private_file)
        save_checkpoint(tmp_path / "weights.safetensors", {"weight": torch.ones(1)}, {})
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "plain": mode,
        "private": mode,
        "weights.safetensors": mode,
    }


def test_a_long_name_gets_a_temporary_file_that_is_not_too_long(tmp_path):
    path = tmp_path / f"{'ü' * 120}.png"  # 244 of the 255 bytes that a name may have
    write_atomically(path, lambda temporary: temporary.write_bytes(b"1"))
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "masks").mkdir()
    writing = temporary_beside(tmp_path / "masks" / "1.png")
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    owner = f"-{os.getpid()}-"
    killed = writing.with_name(writing.name.replace(owner, f"-{int(ended.stdout)}-"))
    before = writing.with_name(f".2{writing.name[2:]}")  # of a process that had our number
    elsewhere = writing.with_name(re.sub(r"\.[0-9a-f]{6}-", ".000000-", killed.name))
    others = [tmp_path / "masks" / name for name in (".1.png", ".hidden", "1.png", ".1.abcdef.png")]
    for path in (writing, killed, before, elsewhere, *others):
        path.write_bytes(b"1")
    os.utime(before, (1e9, 1e9))

    remove_leftovers(tmp_path)

    assert {*(tmp_path / "masks").iterdir()} == {writing, elsewhere, *others}
