import hashlib
import http.server
import io
import re
import tarfile
import threading
import zipfile

import pytest

from common.errors import UsageError
from tools.preparation.download import download, extract

CONTENT = bytes(range(256)) * 400


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; `cut` ends a connection after so many bytes, `ranges` may be switched off."""

    cut = None
    ranges = True
    requests = ()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        if self.path == "/missing":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        return self.end_headers()

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests += (asked,)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:][: self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    path = tmp_path / "downloads" / "file.tar"
    for _ in range(2):
        download(f"{server.address}/file.tar", path, hashlib.md5(CONTENT).hexdigest())

    assert path.read_bytes() == CONTENT
    assert server.requests == (None,)
    assert [entry.name for entry in path.parent.iterdir()] == ["file.tar"]


def test_a_later_call_asks_only_for_the_rest(server, tmp_path):
    path = tmp_path / "file"
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])

    download(f"{server.address}/file", path)

    assert path.read_bytes() == CONTENT
    assert server.requests == ("bytes=1000-",)


def test_a_connection_that_breaks_is_taken_up_where_it_ended(server, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # is 10 MB
    server.cut = 40_000

    download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == (None, "bytes=40000-", "bytes=80000-")


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.part").write_bytes(b"x" * 1000)

    download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("excess", [0, 1])
def test_a_part_that_is_whole_or_too_long(server, tmp_path, excess):
    (tmp_path / "file.part").write_bytes(CONTENT + b"x" * excess)

    download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.requests) == excess


def test_without_progress_it_gives_up_and_keeps_what_has_arrived(server, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.cut = 0
    (tmp_path / "file.part").write_bytes(CONTENT[:7])

    with pytest.raises(OSError, match="run the same again to continue"):
        download(f"{server.address}/file", tmp_path / "file")

    assert (tmp_path / "file.part").read_bytes() == CONTENT[:7]
    assert not (tmp_path / "file").exists()


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(OSError, match="checksum"):
        download(f"{server.address}/file", tmp_path / "file", "0" * 32)

    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_gone_is_said(server, tmp_path):
    with pytest.raises(OSError, match="404"):
        download(f"{server.address}/missing", tmp_path / "file")


def test_a_full_disk_is_noticed_before_anything_is_written(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("tools.preparation.download.shutil.disk_usage", lambda _: usage)

    with pytest.raises(UsageError, match="room"):
        download(f"{server.address}/file", tmp_path / "file")


def make_archive(path, members):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as file:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip"])
def test_only_chosen_members_are_unpacked_to_their_places(tmp_path, suffix):
    archive = make_archive(
        tmp_path / f"archive{suffix}",
        {"old/a/1.jpg": b"one", "old/b.txt": b"list", "old/c.txt": b"not wanted"},
    )

    extract(archive, tmp_path / "root", {"old/a/": "new/", "old/b.txt": "b.txt"})

    files = [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "root").as_posix() for path in files} == {
        "new/1.jpg",
        "b.txt",
    }
    assert (tmp_path / "root/new/1.jpg").read_bytes() == b"one"


def test_unpacking_again_replaces_only_what_is_not_whole(tmp_path):
    archive = make_archive(tmp_path / "archive.tar", {"a/1": b"one", "a/2": b"two"})
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1").write_bytes(b"ONE")
    (tmp_path / "a/2").write_bytes(b"t")

    extract(archive, tmp_path, {"a/": "a/"})

    assert (tmp_path / "a/1").read_bytes() == b"ONE"
    assert (tmp_path / "a/2").read_bytes() == b"two"


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_no_member_leaves_the_folder(tmp_path, suffix):
    archive = make_archive(tmp_path / f"archive{suffix}", {"a/../../evil": b"x"})

    with pytest.raises(UsageError, match="points outside"):
        extract(archive, tmp_path / "root", {"a/": "a/"})

    assert not (tmp_path / "evil").exists()


def test_a_link_in_the_folder_is_not_followed_out_of_it(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root/a").symlink_to(tmp_path / "outside")

    with pytest.raises(UsageError, match="points outside"):
        extract(
            make_archive(tmp_path / "archive.tar", {"a/1": b"x"}), tmp_path / "root", {"a/": "a/"}
        )


def test_links_in_archives_are_not_unpacked(tmp_path):
    with tarfile.open(tmp_path / "archive.tar", "w") as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("a/link")
            link.type, link.linkname = kind, "/etc/passwd"
            file.addfile(link)

    extract(tmp_path / "archive.tar", tmp_path / "root", {"a/": "a/"})

    assert not (tmp_path / "root/a").exists()


@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_a_broken_archive_is_said(tmp_path, suffix):
    archive = make_archive(tmp_path / f"archive{suffix}", {"a/1": bytes(100_000)})
    archive.write_bytes(archive.read_bytes()[:60])

    with pytest.raises(UsageError, match="is broken"):
        extract(archive, tmp_path, {"a/": "a/"})
