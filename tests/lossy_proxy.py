"""A proxy before a server that loses answers: the request arrives and is done, but nobody hears of it."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class LossyProxy:
    """Relays connections to a port. Of `lost` in one answers it closes the connection instead of passing one on."""

    def __init__(self, port: int, lost: float, seed: int) -> None:
        self.lost = lost
        self.losses = 0
        self._port = port
        self._dice = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="lossy", daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.close()
        for one in list(self._open):
            with suppress(OSError):
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            for end in (client, server):
                # What a client sends in two parts would wait 40 ms for the word that the first has come.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            self._open |= {client, server}
            threading.Thread(target=self._relay, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)
        self._end(client, server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                if self._dice.random() < self.lost:
                    self.losses += 1
                    break
                client.sendall(data)
        self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        for one in ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
            self._open.discard(one)


@contextmanager
def lossy(port: int, lost: float, seed: int) -> Iterator[LossyProxy]:
    """A proxy for the length of a block."""
    proxy = LossyProxy(port, lost, seed)
    try:
        yield proxy
    finally:
        proxy.close()
