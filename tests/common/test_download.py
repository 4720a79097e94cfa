import hashlib
import threading

import pytest

from common.download import content_length, download, has_digest
from common.errors import UsageError
from tests.file_server import running_server

CONTENT = bytes(range(256)) * 400
MD5 = ("md5", hashlib.md5(CONTENT).hexdigest())


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # between attempts
    with running_server() as server:
        server.files["/file"] = CONTENT
        yield server


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    path = tmp_path / "downloads" / "file"
    for _ in range(2):
        download(f"{server.address}/file", path, digest=MD5)

    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o044  # others may read it
    assert server.asked == [None]
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_later_call_asks_only_for_the_rest(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])

    download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_connection_that_breaks_is_taken_up_where_it_ended(server, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # is 10 MB
    server.cut = 40_000

    download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=40000-", "bytes=80000-"]


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.part").write_bytes(b"x" * 1000)

    download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("have", [0, 1000])
def test_a_server_that_does_not_say_the_length_sends_everything(server, tmp_path, have):
    server.announced = False
    (tmp_path / "file.part").write_bytes(b"x" * have)

    assert content_length(f"{server.address}/file") is None
    download(f"{server.address}/file", tmp_path / "file", digest=MD5)

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None]


@pytest.mark.parametrize("excess", [0, 1])
def test_a_part_that_is_whole_or_too_long(server, tmp_path, excess):
    (tmp_path / "file.part").write_bytes(CONTENT + b"x" * excess)

    download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.asked) == excess


def test_without_progress_it_gives_up_and_keeps_what_has_arrived(server, tmp_path):
    server.cut = 0
    (tmp_path / "file.part").write_bytes(CONTENT[:7])

    with pytest.raises(OSError, match="run the same again to continue"):
        download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file.part").read_bytes() == CONTENT[:7]
    assert not (tmp_path / "file").exists()


def test_a_file_of_another_size_than_expected_is_not_taken(server, tmp_path):
    with pytest.raises(OSError, match="ended too early or too late"):
        download(f"{server.address}/file", tmp_path / "file", size=len(CONTENT) + 1)

    assert not (tmp_path / "file").exists()


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(OSError, match="has another MD5 than the published one"):
        download(f"{server.address}/file", tmp_path / "file", digest=("md5", "0" * 32))

    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_what_the_caller_finds_wrong_is_not_taken(server, tmp_path):
    def refuse(part):
        assert part.read_bytes() == CONTENT
        return "is a page about logging in"

    with pytest.raises(OSError, match="what came is a page about logging in"):
        download(f"{server.address}/file", tmp_path / "file", check=refuse)

    assert not list(tmp_path.glob("file*"))


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_said_in_one_line_and_leaves_nothing(server, tmp_path, status):
    server.refused["/file"] = status

    for size in (None, len(CONTENT)):  # the refusal meets the question for the size, or the file's
        with pytest.raises(OSError, match=f"^http.*/file: HTTP Error {status}: [^\n]*$"):
            download(f"{server.address}/file", tmp_path / "file", size)

    assert not list(tmp_path.glob("file*"))


def test_a_server_that_is_not_there_is_no_connection(tmp_path):
    with running_server() as server:
        address = f"{server.address}/file"
    with pytest.raises(OSError, match="no connection"):
        download(address, tmp_path / "file")


def test_a_full_disk_is_noticed_before_anything_is_written(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("common.download.shutil.disk_usage", lambda _: usage)

    with pytest.raises(UsageError, match="room"):
        download(f"{server.address}/file", tmp_path / "file")

    assert server.asked == []


def test_two_at_a_time_fetch_a_file_once(server, tmp_path):
    download_it = (download, (f"{server.address}/file", tmp_path / "file"))
    threads = [threading.Thread(target=download_it[0], args=download_it[1]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None]


def test_who_asks_is_told_to_the_server(server, tmp_path):
    download(f"{server.address}/file", tmp_path / "file", headers={"Authorization": "Bearer me"})

    assert server.tokens == ["Bearer me", "Bearer me"]  # for the size and for the file


def test_the_start_of_a_hash_is_enough(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)

    assert has_digest(tmp_path / "file", ("sha256", hashlib.sha256(CONTENT).hexdigest()[:8]))
    assert has_digest(tmp_path / "file", ("md5", MD5[1].upper()))
    assert not has_digest(tmp_path / "file", ("sha256", MD5[1]))
