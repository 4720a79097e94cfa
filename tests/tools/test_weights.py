import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.official import OfficialFile
from tools import weights

CONTENT = b"weights" * 1000
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path: Path):
    """The address of a server, and the folder whose files it offers."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()


@pytest.fixture
def official(server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Known files on that server; one is on a page for people. Returns the server's folder."""
    address, folder = server
    names = {
        "vgg16": f"vgg16_bn-{SHA256[:8]}.pth",
        "vit_b": f"sam_vit_b_{MD5[:6]}.pth",
        "plain": "large.pt",
        "broken": "swin_b-00000000.pth",
    }
    for name in names.values():
        (folder / name).write_bytes(CONTENT)
    names["absent"] = "absent.pt"
    known = {
        name: OfficialFile(file, "MIT", "", "a page", address=f"{address}/{file}")
        for name, file in names.items()
    }
    known["resnet50"] = OfficialFile(
        "resnet50_v2.pth", "MIT", "", "the Google Drive folder of the release"
    )
    monkeypatch.setattr(weights, "OFFICIAL", known)
    return folder


@pytest.mark.parametrize("name", ["vgg16", "vit_b", "plain"])
def test_a_file_is_fetched_once(name: str, official, script, tmp_path: Path):
    outcome = script(weights, "fetch", name, "--weights", tmp_path / "new")
    assert outcome.code == 0, outcome.error
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == weights.OFFICIAL[name].file
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o044  # others may read it
    (official / path.name).unlink()
    assert script(weights, "fetch", name, "--weights", tmp_path / "new").code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "swin_b-00000000.pth gave does not have the hash in its name"),
        ("absent", "HTTP Error 404"),
        ("resnet50", "from the Google Drive folder of the release and save it as"),
    ],
)
def test_what_cannot_be_fetched_leaves_nothing(
    name: str, message: str, official, script, tmp_path: Path
):
    outcome = script(weights, "fetch", "plain", name, "--weights", tmp_path / "new")
    assert outcome.code == 2
    assert message in outcome.error
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["large.pt"]


def test_the_list_says_what_is_there(official, script, tmp_path: Path):
    (tmp_path / "large.pt").touch()
    outcome = script(weights, "list", "--weights", tmp_path)
    lines = {line.split()[0]: line for line in outcome.output.splitlines()}
    assert lines.keys() == weights.OFFICIAL.keys()
    assert "there" in lines["plain"].split()
    assert "absent" in lines["vgg16"].split()
    assert "by hand" in lines["resnet50"]


def test_an_unknown_name_is_told_with_the_known_ones(official, script):
    outcome = script(weights, "fetch", "vgg19")
    assert outcome.code == 2
    assert "vgg16" in outcome.error
