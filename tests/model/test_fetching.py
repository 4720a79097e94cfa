import pytest
import torch

from common.errors import UsageError
from model.fetching import FetchError, absent, ensure, fetch_official
from model.official_paths import official_path
from model.weights import read_weights
from tests.file_server import running_server
from tests.official_files import (
    COMMIT,
    HUB,
    SHA256,
    STATE,
    TENSORS,
    WEIGHTS,
    offer_official_files,
    put_in_hub_cache,
    put_in_torch_cache,
    saved,
)


@pytest.fixture
def server(monkeypatch, tmp_path):
    with running_server() as server:
        server.rows = offer_official_files(server, monkeypatch, tmp_path)
        yield server


@pytest.fixture
def folder(server, tmp_path):
    """The folder of weights; made by whoever puts something there."""
    return tmp_path / "weights"


def contents(folder):
    return sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []


@pytest.mark.parametrize("name", ["by_sha256", "by_md5", "plain", "exact", "on_hub"])
def test_a_file_is_fetched_once_and_announced_before(server, folder, capsys, name):
    path = fetch_official(name)

    assert torch.equal(read_weights(path)["weight"], STATE["weight"])
    assert contents(folder) == [server.rows[name].file]
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"fetching {path.name}: 8")  # 80 KB and a header
    assert "KB, licence: MIT, from " in line
    assert line.endswith(f" to {folder}")
    asked = len(server.tokens)
    assert fetch_official(name) == path
    assert len(server.tokens) == asked


def test_an_interrupted_fetch_goes_on(server, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # is 10 MB
    server.cut, server.dies = 30_000, True
    with pytest.raises(FetchError, match=r"run the same again to continue$"):
        fetch_official("plain")
    assert (folder / "large.pt.part").read_bytes() == WEIGHTS[:30_000]
    assert not (folder / "large.pt").exists()
    server.cut, server.dies, server.asked = None, False, []

    assert fetch_official("plain").read_bytes() == WEIGHTS
    assert server.asked == ["bytes=30000-"]
    assert contents(folder) == ["large.pt"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("changed", WEIGHTS, "has another SHA-256"),
        ("plain", b"<html>log in</html>", "is no file of torch.save"),
        ("plain", WEIGHTS[:-300], "is cut short"),
        ("plain", saved({}), "instead of about 8"),
        ("exact", saved(STATE | {"more": torch.zeros(1)}), "bytes where .* are published"),
        ("on_hub", TENSORS[:-4] + b"abcd", "has another SHA-256"),
    ],
)
def test_what_is_not_the_published_file_is_not_taken(server, folder, name, content, words):
    file = f"{HUB}/{COMMIT}/model.safetensors" if name == "on_hub" else server.rows[name].file
    server.files[f"/{file}".replace("//", "/")] = content

    with pytest.raises(FetchError, match=words):
        fetch_official(name)

    assert [file for file in contents(folder) if not file.startswith(".")] == []


def test_a_broken_file_is_fetched_anew(server, folder, capsys):
    folder.mkdir()
    (folder / "large.pt").write_bytes(WEIGHTS[:-300])

    assert fetch_official("plain").read_bytes() == WEIGHTS
    assert "large.pt is cut short: it is fetched anew" in capsys.readouterr().err


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_file_explains_the_two_steps(server, folder, status):
    path = f"{HUB}/main/model.safetensors"
    server.refused[path] = status
    server.headers[path] = {"X-Error-Code": "GatedRepo"}

    with pytest.raises(UsageError) as caught:
        fetch_official("on_hub")

    assert str(caught.value).splitlines() == [
        "the hub gives vit.safetensors only to people who accepted its terms (MIT):",
        "1. log in at https://huggingface.co/timm/vit and accept them there",
        "2. run `hf auth login` with a token of that account, then the same again",
        f"Or get meta-{SHA256[:8]}.pth by hand from a page and put it into {folder}",
    ]
    assert contents(folder) == []


def test_the_hub_is_told_who_asks_and_which_version(server, folder):
    fetch_official("on_hub")
    assert server.tokens == ["Bearer of a person"] * 2
    del server.files[f"{HUB}/{COMMIT}/model.safetensors"]
    (folder / "vit.safetensors").unlink()
    with pytest.raises(FetchError, match="404"):
        fetch_official("on_hub")


def test_the_hub_may_keep_large_files_elsewhere_where_nobody_is_told_who_asks(server, folder):
    server.files["/store"] = TENSORS
    for revision in ("main", COMMIT):
        path = f"{HUB}/{revision}/model.safetensors"
        server.redirected[path] = server.address.replace("127.0.0.1", "localhost") + "/store"
        headers = server.headers[path]
        headers |= {"X-Linked-Etag": headers.pop("ETag"), "X-Linked-Size": str(len(TENSORS))}

    assert fetch_official("on_hub").read_bytes() == TENSORS
    assert server.tokens == ["Bearer of a person"] * 2 + [None]
    assert server.asked == [None]


def test_the_hub_does_not_know_the_file(server):
    server.refused[f"{HUB}/main/model.safetensors"] = 404
    with pytest.raises(FetchError, match=r"huggingface\.co/timm/vit: HTTP Error 404"):
        fetch_official("on_hub")


@pytest.mark.parametrize("name", ["plain", "on_hub"])
def test_without_network_one_line_says_what_from_where_and_to_which_folder(
    monkeypatch, tmp_path, name
):
    with running_server() as server:
        rows = offer_official_files(server, monkeypatch, tmp_path)

    with pytest.raises(UsageError) as caught:
        ensure([name], fetch=True)

    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"cannot fetch {rows[name].file} (")
    assert f"licence: MIT) to {tmp_path / 'weights'}: {rows[name].source}: no connection" in line


def test_a_file_in_the_cache_of_torch_is_linked(server, folder, tmp_path, capsys):
    for name in ("by_sha256", "plain"):
        cached = put_in_torch_cache(tmp_path, server.rows[name].file)
        path = fetch_official(name)
        assert path.samefile(cached)  # no second copy
    assert server.tokens == []
    assert f"{cached} is used, as {path}" in capsys.readouterr().err


def test_a_file_in_the_cache_of_the_hub_is_linked(server, folder, tmp_path):
    cached = put_in_hub_cache(tmp_path)
    path = fetch_official("on_hub")
    assert path == folder / "vit.safetensors"
    assert not path.is_symlink()  # clearing the cache does not take it away
    assert path.samefile(cached)
    assert server.tokens == []


def test_a_cache_on_another_disk_is_copied(server, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    cached = put_in_torch_cache(tmp_path, "large.pt")
    path = fetch_official("plain")
    assert path.read_bytes() == WEIGHTS
    assert not path.samefile(cached)


@pytest.mark.parametrize(
    ("name", "content"), [("by_sha256", saved({"other": torch.zeros(9)})), ("plain", WEIGHTS[:99])]
)
def test_a_cached_file_that_is_broken_is_not_used(server, tmp_path, name, content):
    put_in_torch_cache(tmp_path, server.rows[name].file, content)
    assert fetch_official(name).read_bytes() == WEIGHTS
    assert len(server.tokens) == 2


def test_another_name_of_the_same_weights_counts(server, folder, tmp_path):
    cached = put_in_torch_cache(tmp_path, f"meta-{SHA256[:8]}.pth")
    assert fetch_official("on_hub") == folder / cached.name == official_path("on_hub")
    assert server.tokens == []


def test_nothing_is_fetched_unasked(server, folder, tmp_path):
    folder.mkdir()
    (folder / "exact.pt").write_bytes(WEIGHTS)
    put_in_torch_cache(tmp_path, "large.pt")
    ensure(["exact", "plain"], fetch=False)
    assert official_path("plain").is_file()

    with pytest.raises(UsageError) as caught:
        ensure(["exact", "plain", "by_md5", "by_sha256", "by_md5"], fetch=False)

    line = str(caught.value)
    assert "\n" not in line
    assert f"`python -m tools.weights fetch by_md5 by_sha256 --weights {folder}` gets " in line
    for name in ("by_md5", "by_sha256"):
        assert (
            f"{server.rows[name].file} (size unknown, licence: MIT) from {server.address}" in line
        )
    assert line.endswith(f", into {folder}")
    assert server.tokens == []


def test_what_can_be_had_without_network_is_not_absent(server, folder, tmp_path):
    folder.mkdir()
    (folder / "exact.pt").write_bytes(WEIGHTS)
    put_in_torch_cache(tmp_path, "large.pt")
    names = ["exact", "plain", "by_hand", "by_md5", "by_hand"]
    assert absent(names) == ("by_hand", "by_md5")
    assert contents(folder) == ["exact.pt"]  # nothing is changed by asking


def test_sizes_are_summed_up(server):
    with pytest.raises(UsageError, match=r"\(81.6 KB, .*\(about 81.6 KB, .*, 163 KB in all, into"):
        ensure(["exact", "plain"], fetch=False)


def test_what_is_asked_for_is_fetched(server, folder):
    ensure(["plain", "by_md5", "plain"], fetch=True)
    ensure([], fetch=True)
    assert len(server.asked) == len(contents(folder)) == 2


def test_a_file_only_a_person_can_get_stops_before_anything_is_fetched(server, folder):
    for fetch in (False, True):
        with pytest.raises(UsageError) as caught:
            ensure(["plain", "by_hand"], fetch)
        line = str(caught.value)
        assert (
            "get adapter.pth (size unknown, licence: MIT) by hand from a page and put it into "
            f"{folder}" in line
        )
    assert server.tokens == []
