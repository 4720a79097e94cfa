"""Serves the page to browsers, and fetches nothing from anywhere else."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from common.errors import UsageError
from page.events import Events
from page.examples import draw_examples
from page.gate import Gate
from page.layout import THEME, build_page
from page.limits import PageLimits
from page.methods import Methods
from page.session import Sessions

LOCAL = "127.0.0.1"

FOLDER = Path(__file__).parent
"""Where style and script lie."""


@contextmanager
def served(
    methods: Methods, folder: Path, host: str, port: int, limits: PageLimits
) -> Iterator[str]:
    """Serve the page in the background; gives its address.

    Args:
        folder: for the files of all visitors; absolute.
        port: 0 for a free one.

    Raises:
        UsageError: nothing can listen there, or the first method cannot be built.
    """
    port = port or _free_port(host)
    sessions = Sessions(folder / "visitors", limits)
    events = Events(methods, sessions, draw_examples(folder / "examples"))
    gr.set_static_paths([folder / "visitors", folder / "examples"])
    page = build_page(events)
    page.queue(max_size=4 * limits.max_visitors, default_concurrency_limit=2, api_open=False)
    middleware = [Middleware(Gate, folder=folder, limits=limits)]
    if host == LOCAL:  # other names for this computer would let foreign pages in
        middleware.append(Middleware(TrustedHostMiddleware, [LOCAL, "localhost"]))
    try:
        page.launch(
            server_name=host,
            server_port=port,
            theme=THEME,
            head=f"<style>{(FOLDER / 'style.css').read_text()}</style>",  # css= is rewritten
            js=(FOLDER / "page.js").read_text(),
            max_file_size=limits.max_upload * 2**20,
            state_session_capacity=limits.max_visitors,
            app_kwargs={"middleware": middleware},
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
        )
    except OSError:
        raise UsageError(f"cannot listen on {host}:{port}: choose another --port") from None
    try:
        yield f"http://{LOCAL if host == '0.0.0.0' else host}:{port}"
    finally:
        page.close(verbose=False)


def _free_port(host: str) -> int:
    try:
        with socket.create_server((host, 0)) as server:
            return server.getsockname()[1]
    except OSError as error:
        raise UsageError(f"--host: cannot listen on {host}: {error.strerror}") from None
