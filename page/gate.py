"""What every request to the page passes: nothing comes from, or goes to, other places."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from page.limits import PageLimits

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)
"""What browsers may load: everything from here. Gradio's own page needs the inline parts."""

UPLOADS = "uploads"
"""Gradio's folder, within that of all files."""

_READING = ("GET", "HEAD", "OPTIONS")

Scope = dict[str, Any]


class Gate:
    """Refuses requests that other websites make, and files for which there is no room.

    It also keeps browsers, and Gradio's server itself, from fetching anything from other places.
    """

    def __init__(self, app: Callable, folder: Path, limits: PageLimits) -> None:
        """Stand before an ASGI application.

        Args:
            folder: of the files of all visitors.
        """
        self.app, self.folder, self.limits = app, folder, limits
        self._arriving: list[int] = []

    async def __call__(self, scope: Scope, receive: Callable, send: Callable) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal:
            await PlainTextResponse(*refusal)(scope, receive, send)
            return

        async def send_with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        if not _is_upload(scope):
            await self.app(scope, receive, send_with_policy)
            return
        announced = int(Headers(scope=scope)["content-length"])
        self._arriving.append(announced)
        try:
            await self.app(scope, receive, send_with_policy)
        except ClientDisconnect:
            pass  # the visitor went on, or away
        finally:
            self._arriving.remove(announced)
            self._remove_broken_off()

    def _refusal(self, scope: Scope) -> tuple[str, int] | None:
        """Why a request is not answered, and the status that says so."""
        path, headers = scope["path"], Headers(scope=scope)
        if "proxy=" in path or "file=http" in path:  # Gradio would fetch these for the browser
            return "only files of this page", 403
        if scope["method"] in _READING:
            return None
        origin = headers.get("origin")  # which every browser tells, and no other program has to
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return "only from this page", 403
        if _is_upload(scope):
            announced = headers.get("content-length", "")
            if not announced.isdecimal():
                return "say how long the file is", 411
            together = int(announced) + sum(self._arriving) + bytes_in(self.folder)
            if together > self.limits.max_files * 2**20:
                return "no room for more files: remove some, or come back later", 413
        return None

    def _remove_broken_off(self) -> None:
        """Remove what is left of uploads that did not arrive, once none is on its way.

        Gradio gives files that arrived a folder each.
        """
        if self._arriving:
            return
        for left in (self.folder / UPLOADS).glob("tmp*"):
            if left.is_file():
                left.unlink(missing_ok=True)


def _is_upload(scope: Scope) -> bool:
    posted = scope["type"] == "http" and scope["method"] not in _READING
    return posted and scope["path"].rstrip("/").endswith("/upload")


def bytes_in(folder: Path) -> int:
    """The sizes of all files in a folder, those that vanish meanwhile left out."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
