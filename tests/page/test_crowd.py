"""A running page that is asked for too much, by programs: it stays up, and nothing is left."""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from common.files import ROOT

UPLOAD = "/gradio_api/upload"
MEGABYTE = 2**20
PATIENCE = 240


class Page(NamedTuple):
    """A running page."""

    address: str
    folder: Path
    """Where its temporary folder lies."""
    process: psutil.Process

    def memory(self) -> int:
        """Of the process, in megabytes."""
        return self.process.memory_info().rss // MEGABYTE

    def files(self) -> list[Path]:
        """What visitors brought."""
        [own] = self.folder.glob("dc-sam-page-*")
        places = [path for part in ("uploads", "visitors") for path in (own / part).rglob("*")]
        return [path for path in places if path.is_file()]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("temporary")
    nowhere = {"DCSAM_WEIGHTS": str(folder / "weights"), "HF_HUB_CACHE": str(folder / "hub")}
    variables = {**os.environ, **nowhere, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "app.py", "--port", "0", "--device", "cpu"]
    limits = ["--max_upload", "5", "--max_files", "30"]
    with (folder.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *limits], cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=log,
            text=True,
        )  # fmt: skip
    try:
        lines = (process.stdout.readline() for _ in range(2))
        address = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))[0]
        yield Page(address, folder, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert not list(folder.glob("dc-sam-page-*"))


def send_file(page: Page, content: bytes, name: str = "picture.jpg") -> int:
    answer = httpx.post(page.address + UPLOAD, files={"files": (name, content)}, timeout=PATIENCE)
    return answer.status_code


def break_off(page: Page, announced: int, sent: int) -> None:
    """Begin to send a file, and go away."""
    host, port = page.address.removeprefix("http://").split(":")
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {announced}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + bytes(sent))
        time.sleep(0.2)


def is_up(page: Page) -> bool:
    return httpx.get(page.address, timeout=PATIENCE).status_code == 200


@pytest.mark.slow
def test_a_hundred_requests_at_a_time_are_answered_and_memory_returns(page):
    assert is_up(page)
    before = page.memory()
    with ThreadPoolExecutor(100) as crowd:
        found = [*crowd.map(lambda _: is_up(page), range(300))]
    assert all(found)
    time.sleep(2)
    assert page.memory() < before + 150


@pytest.mark.slow
def test_uploads_that_are_no_good_are_refused_and_leave_nothing(page):
    before, memory = len(page.files()), page.memory()
    assert send_file(page, bytes(6 * MEGABYTE)) == 413  # larger than a file may be
    assert send_file(page, bytes(40 * MEGABYTE)) == 413  # than all may be
    heads = {"Content-Type": "multipart/form-data; boundary=x"}
    for wrong in (b"", b"no form", b"--x\r\n\r\n--x--", b"--x\r\nContent-Disposition: a\r\n\r\n"):
        answer = httpx.post(page.address + UPLOAD, content=wrong, headers=heads, timeout=PATIENCE)
        assert answer.status_code < 500, (wrong, answer.text)
    answer = httpx.post(page.address + UPLOAD, content=b"{}", timeout=PATIENCE)
    assert answer.status_code < 500
    with ThreadPoolExecutor(20) as crowd:
        list(crowd.map(lambda _: break_off(page, 5 * 10**5, 4 * 10**5), range(40)))
    deadline = time.time() + 20
    while len(page.files()) > before and time.time() < deadline:
        time.sleep(0.2)
    assert len(page.files()) == before
    assert is_up(page)
    assert page.memory() < memory + 150


@pytest.mark.slow
def test_uploads_stop_at_the_sum_that_is_allowed(page):
    with ThreadPoolExecutor(30) as crowd:
        codes = [*crowd.map(lambda _: send_file(page, secrets.token_bytes(MEGABYTE)), range(60))]
    assert {*codes} == {200, 413}
    assert sum(path.stat().st_size for path in page.files()) <= 30 * MEGABYTE
    assert is_up(page)


@pytest.mark.slow
def test_other_websites_and_invented_visitors_shut_nobody_out(page):
    heads = {"Origin": "http://evil.example"}
    answer = httpx.post(page.address + UPLOAD, headers=heads, files={"files": b"x"})
    assert answer.status_code == 403
    for _ in range(40):
        body = {"data": [], "fn_index": 0, "session_hash": secrets.token_hex(8)}
        httpx.post(page.address + "/gradio_api/queue/join", json=body, timeout=PATIENCE)
    assert is_up(page)
