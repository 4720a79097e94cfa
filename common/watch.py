"""Notice that another process has ended, where a collective call would wait for hours.

The first process holds a connection to each other one. Kernels close what a process held open when
it ends, however it ends; of a machine that has vanished, TCP's keep-alive tells within a minute.
A connection says one byte before it is closed on purpose.
"""

import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from common.errors import AGAIN

FAREWELL = b"."
GRACE = 5.0
"""Seconds in which this process may end by itself once another one has."""
PATIENCE = 120.0
"""Seconds in which all processes have to be connected."""
TOKEN = 16
"""Bytes by which processes of one run know each other."""
KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Ask after 20 s of silence, and give up after 4 questions without an answer, 5 s apart."""

Gather = Callable[[Any], list[Any]]


class LostProcess(RuntimeError):
    """Another process of this run has ended before its work was done."""


class Watch:
    """Watches from a thread; when a process is lost, this one ends with a line that says so."""

    def __init__(self, rank: int, count: int, host: str, gather: Gather) -> None:
        """Connect; all processes have to do so.

        Args:
            host: where the process of rank 0 runs.
            gather: everybody's value, in the order of the ranks.
        """
        self.rank = rank
        self.lost: int | None = None
        """The rank of a process that has ended."""
        self._found, self._left = threading.Event(), threading.Event()
        self._peers: dict[socket.socket, int] = {}
        server = _server() if rank == 0 else None
        token = secrets.token_bytes(TOKEN)
        port, token = gather((server.getsockname()[1], token) if server else None)[0]
        if server:
            with server:
                self._accept(server, token, count)
        else:
            connection = socket.create_connection((host, port), PATIENCE)
            connection.sendall(token + rank.to_bytes(4))
            self._add(connection, 0)
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watch")
        self._thread.start()

    def has_lost(self, seconds: float = 2.0) -> bool:
        """Whether a process was lost, which may become known only a moment later than an error."""
        return self._found.wait(seconds)

    def line(self) -> str:
        """What to tell about it."""
        return f"process {self.lost} has ended before the work was done; process {self.rank} stops"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Say farewell, unless this process fails."""
        self._left.set()
        self._waker.close()
        self._thread.join()
        for connection in self._peers:
            if kind is None:
                with suppress(OSError):  # it has ended, too
                    connection.sendall(FAREWELL)
            connection.close()
        self._wake.close()

    def _accept(self, server: socket.socket, token: bytes, count: int) -> None:
        server.settimeout(PATIENCE)
        while len(self._peers) < count - 1:
            connection, _ = server.accept()
            connection.settimeout(PATIENCE)
            greeting = connection.recv(TOKEN + 4, socket.MSG_WAITALL)
            if secrets.compare_digest(greeting[:TOKEN], token):
                self._add(connection, int.from_bytes(greeting[TOKEN:]))
            else:
                connection.close()  # somebody else's

    def _add(self, connection: socket.socket, rank: int) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE.items():
            if hasattr(socket, name):  # macOS has others
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._peers[connection] = rank

    def _watch(self) -> None:
        """Wait until somebody is lost, or this process leaves."""
        selector = selectors.DefaultSelector()
        for connection in [self._wake, *self._peers]:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if key.fileobj is self._wake:
                    return
                try:
                    said = key.fileobj.recv(1)
                except OSError:
                    said = b""
                selector.unregister(key.fileobj)
                if said != FAREWELL:
                    self._lose(self._peers[key.fileobj])
                    return

    def _lose(self, rank: int) -> None:
        self.lost = rank
        self._found.set()
        if self._left.wait(GRACE):
            return
        print(f"error: {self.line()}", file=sys.stderr, flush=True)
        os._exit(AGAIN)  # what the main thread waits in cannot be interrupted


def _server() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))
