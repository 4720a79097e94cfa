"""A server on this machine that gives files whole, cut short, without ranges, or not at all."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files`; what it does wrong can be set at any time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.files: dict[str, bytes] = {}
        """Path -> content."""
        self.headers: dict[str, dict[str, str]] = {}
        """Path -> headers of its answers besides those of every file."""
        self.refused: dict[str, int] = {}
        """Path -> status with which it is refused."""
        self.redirected: dict[str, str] = {}
        """Path -> the address where the file is."""
        self.cut: int | None = None
        """A connection ends after so many bytes."""
        self.dies = False
        """Whether nothing more comes after the first file, or part of one, that was sent."""
        self.ranges = True
        """Whether parts of files can be had."""
        self.announced = True
        """Whether the length is said."""
        self.asked: list[str | None] = []
        """The range that each GET asked for."""
        self.tokens: list[str | None] = []
        """What each request said of who asks."""


@contextmanager
def running_server() -> Iterator[FileServer]:
    """A server that answers while the block runs."""
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self) -> None:
        content = self._content()
        if content is not None:
            self._begin(200, len(content))

    def do_GET(self) -> None:
        content = self._content()
        if content is None:
            return
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        extra = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self._begin(206 if start else 200, len(content) - start, extra if start else {})
        self.wfile.write(content[start:][: self.server.cut])
        if self.server.dies:
            self.server.cut = 0

    def _content(self) -> bytes | None:
        self.server.tokens.append(self.headers.get("Authorization"))
        content = self.server.files.get(self.path)
        elsewhere = self.server.redirected.get(self.path)
        usual = 302 if elsewhere else 404 if content is None else 200
        status = self.server.refused.get(self.path, usual)
        if status == 200:
            return content
        self.send_response(status)
        if elsewhere:
            self.send_header("Location", elsewhere)
        for name, value in self.server.headers.get(self.path, {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _begin(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        own = self.server.headers.get(self.path, {})
        for name, value in {**own, **(headers or {})}.items():
            self.send_header(name, value)
        if self.server.announced:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""
