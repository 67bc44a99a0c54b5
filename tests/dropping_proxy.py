"""A TCP proxy that stands between a client and a server, and cuts what it carries when a test says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_AT_ONCE: Final = 65_536


class DroppingProxy:
    """Listens on a port of 127.0.0.1 and carries each connection to `port`, until `cut`."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.carried = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            for one in (client, server):
                # A client that is gone already has its connection cut by whoever carries it.
                with suppress(OSError):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
                self.carried += 1
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(_AT_ONCE):
                other.sendall(data)
        self._close(one, other)

    def _close(self, *several: socket.socket) -> None:
        for one in several:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            with self._lock:
                self._open.discard(one)
            one.close()

    def cut(self) -> int:
        """Cut every connection, whatever is under way on it; how many."""
        with self._lock:
            several = list(self._open)
        self._close(*several)
        return len(several) // 2

    def close(self) -> None:
        """Stop listening and cut what is open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


@contextmanager
def dropping_proxy(port: int) -> Iterator[DroppingProxy]:
    """A proxy for one test."""
    proxy = DroppingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
