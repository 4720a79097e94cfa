import pytest

from tests.file_server import running_server
from tests.official_files import MD5, WEIGHTS, offer_official_files, put_in_torch_cache
from tools import weights


@pytest.fixture
def server(monkeypatch, tmp_path):
    with running_server() as server:
        server.rows = offer_official_files(server, monkeypatch, tmp_path)
        yield server


def test_files_are_fetched_to_the_folder_that_is_named(server, script, tmp_path):
    outcome = script(weights, "fetch", "plain", "by_md5", "--weights", tmp_path / "new")

    assert outcome.code == 0, outcome.error
    paths = [tmp_path / "new" / server.rows[name].file for name in ("plain", "by_md5")]
    assert outcome.output.splitlines() == [str(path) for path in paths]
    assert all(path.read_bytes() == WEIGHTS for path in paths)
    assert "fetching large.pt: about 8" not in outcome.error  # the server knows it better
    assert "fetching large.pt: 8" in outcome.error


def test_one_that_fails_does_not_stop_the_others(server, script, tmp_path):
    outcome = script(weights, "fetch", "changed", "plain")

    assert outcome.code == 1
    assert "swin-00000000.pth: what came has another SHA-256" in outcome.error
    assert [path.name for path in (tmp_path / "weights").glob("[!.]*")] == ["large.pt"]


def test_one_that_only_a_person_can_get_is_wrong_use(server, script):
    outcome = script(weights, "fetch", "by_hand")
    assert outcome.code == 2
    assert "by hand from a page and put it into" in outcome.error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["fetch", "vgg19"], "unknown: vgg19; there are by_sha256, by_md5"),
        (["fetch"], "fetch at least one"),
        (["list", "plain"], "list takes no names"),
        (["burn", "plain"], "invalid choice"),
    ],
)
def test_wrong_use_is_explained(server, script, flags, words):
    outcome = script(weights, *flags)
    assert outcome.code == 2
    assert words in outcome.error


def test_the_list_says_what_there_is(server, script, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "large.pt").write_bytes(WEIGHTS)
    (folder / "exact.pt").write_bytes(WEIGHTS[:-1])
    (folder / "swin-00000000.pth.part").write_bytes(WEIGHTS[:5])
    put_in_torch_cache(tmp_path, f"sam_{MD5[:6]}.pth")

    outcome = script(weights, "list")

    rows = {line.split()[0]: line for line in outcome.output.splitlines() if line}
    states = {name: rows[name].split()[1] for name in server.rows}
    assert states == {
        "by_sha256": "absent",
        "by_md5": "cached",
        "plain": "there",
        "exact": "broken",
        "changed": "begun",
        "on_hub": "absent",
        "by_hand": "absent",
    }
    assert all("MIT" in rows[name] for name in server.rows)
    assert "by hand" in rows["by_hand"]
    assert "huggingface.co" in rows["on_hub"]
    assert "about 81.6 KB" in rows["plain"]
    assert outcome.code == 0
    assert server.tokens == []


def test_verify_reads_all_that_is_there(server, script, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / f"sam_{MD5[:6]}.pth").write_bytes(WEIGHTS)
    assert script(weights, "verify").code == 0
    (folder / "swin-00000000.pth").write_bytes(WEIGHTS)

    outcome = script(weights, "verify")

    assert outcome.code == 1
    good, broken = outcome.output.splitlines()
    assert good == f"by_md5: {folder / f'sam_{MD5[:6]}.pth'} is good: MD5 as published: {MD5[:6]}"
    assert broken.startswith(f"changed: {folder / 'swin-00000000.pth'} is BROKEN: it has another")


def test_verify_says_that_a_named_file_is_absent(server, script):
    outcome = script(weights, "verify", "plain")
    assert outcome.code == 1
    assert outcome.output.startswith("plain: no file in ")
