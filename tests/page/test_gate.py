"""Who may ask the page for what, told by the requests alone."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect

import app
from page.gate import Gate, bytes_in
from page.limits import PageLimits

HOST = "127.0.0.1:7860"
UPLOAD = "/gradio_api/upload"


async def _page(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


def status(folder: Path, method: str = "POST", path: str = "/run", **headers: str) -> int:
    """What a request is answered with."""
    answers = []

    async def send(message) -> None:
        answers.append(message)

    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in {"host": HOST, **headers}.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    gate = Gate(_page, folder, PageLimits(max_files=1))
    asyncio.run(gate(scope, None, send))
    return answers[0]["status"]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (f"http://{HOST}", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:9", 403),
        ("http://127.0.0.1:7860.evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_other_websites_may_not_post(tmp_path, origin, expected):
    assert status(tmp_path, origin=origin) == expected
    assert status(tmp_path, path=UPLOAD, origin=origin, content_length="9") == expected
    assert status(tmp_path, "GET", "/", origin=origin) == 200  # the policy keeps it to itself


def test_a_program_that_is_no_browser_may_post(tmp_path):
    assert status(tmp_path) == 200


def test_all_files_together_have_a_limit(tmp_path):
    assert status(tmp_path, path=UPLOAD, content_length="1000") == 200
    (tmp_path / "visitor").mkdir()
    (tmp_path / "visitor" / "picture.jpg").write_bytes(bytes(2**20 - 500_000))
    assert bytes_in(tmp_path / "visitor") == 2**20 - 500_000
    assert status(tmp_path, path=UPLOAD, content_length="400000") == 200
    assert status(tmp_path, path=UPLOAD, content_length="600000") == 413
    assert status(tmp_path, path=UPLOAD) == 411
    assert status(tmp_path, path=UPLOAD, content_length="-5") == 411


def test_files_on_their_way_count_and_what_breaks_off_goes(tmp_path):
    """Two uploads at a time: the first waits half-way until the second was refused."""
    (tmp_path / "uploads" / "arrived").mkdir(parents=True)
    (tmp_path / "uploads" / "arrived" / "picture.jpg").write_bytes(b"1")
    part, waiting, codes = tmp_path / "uploads" / "tmpabc", asyncio.Event(), []

    async def arrive_in_part(scope, receive, send) -> None:
        part.write_bytes(b"half")
        await waiting.wait()
        raise ClientDisconnect

    async def note(message) -> None:
        codes.append(message.get("status"))

    async def both() -> None:
        gate = Gate(arrive_in_part, tmp_path, PageLimits(max_files=1))
        headers = [(b"host", HOST.encode()), (b"content-length", b"600000")]
        scope = {"type": "http", "method": "POST", "path": UPLOAD, "headers": headers}
        first = asyncio.create_task(gate(scope, None, note))
        await asyncio.sleep(0)
        await gate(scope, None, note)
        assert part.exists()
        waiting.set()
        await first

    asyncio.run(both())
    assert codes[0] == 413
    assert not part.exists()
    assert (tmp_path / "uploads" / "arrived" / "picture.jpg").exists()


def test_gradio_fetches_nothing_for_anybody(tmp_path):
    assert status(tmp_path, "GET", "/proxy=http://evil.example") == 403
    assert status(tmp_path, "GET", "/file=http://evil.example") == 403


def test_what_a_killed_page_left_is_removed(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    killed = tmp_path / f"dc-sam-page-{int(ended.stdout)}-x"
    running = tmp_path / f"dc-sam-page-{os.getpid()}-y"
    foreign = tmp_path / "dc-sam-page-notes-z"
    for folder in (killed, running, foreign):
        folder.mkdir()
        (folder / "picture.jpg").write_bytes(b"x")
    app.remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([running, foreign])
