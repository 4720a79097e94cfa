"""What every request to the page passes: nothing comes from, or goes to, other places."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from page.limits import PageLimits

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)
"""What browsers may load: everything from here. Gradio's own page needs the inline parts."""

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

    async def __call__(self, scope: Scope, receive: Callable, send: Callable) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal:
            await PlainTextResponse(*refusal)(scope, receive, send)
            return

        async def send_with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        await self.app(scope, receive, send_with_policy)

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
        if path.rstrip("/").endswith("/upload"):
            announced = headers.get("content-length", "")
            if not announced.isdecimal():
                return "say how long the file is", 411
            if int(announced) + bytes_in(self.folder) > self.limits.max_files * 2**20:
                return "no room for more files: remove some, or come back later", 413
        return None


def bytes_in(folder: Path) -> int:
    """The sizes of all files in a folder, those that vanish meanwhile left out."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
