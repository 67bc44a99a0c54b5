"""A pooler as PgBouncer is in transaction mode: each transaction runs on another server connection than the last one.

It speaks enough of PostgreSQL's protocol to know where a transaction ends, and nothing more. Whoever relies on what a
session keeps (a SET, a prepared statement, a temporary table, a lock that outlives its transaction) is found out.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_SYNC: Final = (b"S", b"Q")
_SSL_REQUEST: Final = 80_877_103
_GSS_REQUEST: Final = 80_877_104


class _Messages:
    """Cuts a stream into messages: a byte that names the kind, four of length, the body."""

    def __init__(self) -> None:
        self._left = b""

    def of(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(kind, the whole message) of each message that is complete."""
        self._left += data
        while len(self._left) >= 5:
            end = 1 + struct.unpack_from(">I", self._left, 1)[0]
            if len(self._left) < end:
                return
            message, self._left = self._left[:end], self._left[end:]
            yield message[:1], message


class _Server:
    """A connection to the server, past its greeting."""

    def __init__(self, port: int, startup: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(startup)
        self.messages = _Messages()
        self.greeting = b""
        while True:
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionError("the server hung up")
            for kind, message in self.messages.of(data):
                self.greeting += message
                if kind == b"Z":
                    return


class TransactionPooler:
    """Listens on a port of 127.0.0.1; `used` counts the transactions of each server connection."""

    def __init__(self, port: int, size: int = 4) -> None:
        self._to = port
        self._size = size
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._free = threading.Condition()
        self._servers: list[_Server] = []
        self._made = 0
        self.used: dict[_Server, int] = {}
        self.moved = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, struct.error):
            startup = self._startup(client)
            last = self._take(None, startup)
            self._give(last)
            client.sendall(last.greeting)
            self._carry(client, startup, last)

    @staticmethod
    def _startup(client: socket.socket) -> bytes:
        while True:
            head = client.recv(8, socket.MSG_WAITALL)
            length, code = struct.unpack(">II", head)
            if code in (_SSL_REQUEST, _GSS_REQUEST):
                client.sendall(b"N")
                continue
            return head + client.recv(length - 8, socket.MSG_WAITALL)

    def _take(self, last: _Server | None, startup: bytes) -> _Server:
        """A free server connection, another one than the last if there is any."""
        with self._free:
            while not self._servers and self._made >= self._size:
                self._free.wait()
            if self._made < self._size:
                self._made += 1
            else:
                others = [one for one in self._servers if one is not last]
                chosen = others[0] if others else self._servers[0]
                self._servers.remove(chosen)
                return chosen
        return _Server(self._to, startup)

    def _give(self, server: _Server) -> None:
        with self._free:
            self._servers.append(server)
            self._free.notify()

    def _carry(self, client: socket.socket, startup: bytes, last: _Server) -> None:
        asked = _Messages()
        server: _Server | None = None
        waiting = 0
        try:
            while True:
                sockets = [client] if server is None else [client, server.socket]
                ready, _, _ = select.select(sockets, [], [])
                if client in ready:
                    data = client.recv(65_536)
                    if not data:
                        return
                    for kind, message in asked.of(data):
                        if kind == b"X":
                            return
                        if server is None:
                            server = self._take(last, startup)
                            self.moved += server is not last
                            self.used[server] = self.used.get(server, 0) + 1
                        waiting += kind in _SYNC
                        server.socket.sendall(message)
                if server is not None and server.socket in ready:
                    waiting, over = self._answered(client, server, waiting)
                    if over:
                        last, server = server, None
                        self._give(last)
        finally:
            if server is not None:
                # The client left within a transaction: the server undoes it with the connection.
                server.socket.close()
                with self._free:
                    self._made -= 1
                    self._free.notify()

    @staticmethod
    def _answered(client: socket.socket, server: _Server, waiting: int) -> tuple[int, bool]:
        """Carry an answer; how many are still awaited, and whether the transaction is over."""
        over = False
        for kind, message in server.messages.of(server.socket.recv(65_536)):
            client.sendall(message)
            if kind == b"Z":
                waiting -= 1
                over = waiting == 0 and message[5:6] == b"I"
        return waiting, over

    def close(self) -> None:
        """Stop listening, and leave the server."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for server in self._servers:
            server.socket.close()


@contextmanager
def transaction_pooler(port: int) -> Iterator[TransactionPooler]:
    """A pooler for one test."""
    pooler = TransactionPooler(port)
    try:
        yield pooler
    finally:
        pooler.close()
