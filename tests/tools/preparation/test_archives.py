import io
import tarfile
import zipfile

import pytest

from common.errors import UsageError
from tools.preparation.archives import extract


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
