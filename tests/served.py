"""A real server on a thread of the test's own process: uvicorn on a free port, over a ledger that the test holds."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

import outlay
from outlay.faces.gateway.settings import GatewaySettings
from outlay.faces.server.app import create_app
from outlay.faces.server.settings import ServerSettings

STARTS_WITHIN_S = 20
GRACE_S = 2.0


class Prompt(uvicorn.Server):
    """A server that ends when it is told to: the real one looks ten times a second, and waits a tenth more."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told = asyncio.Event()

    async def main_loop(self) -> None:
        ticking = asyncio.create_task(super().main_loop())
        await self.told.wait()
        ticking.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        ends_s = asyncio.get_running_loop().time() + GRACE_S
        while (
            self.server_state.connections or self.server_state.tasks
        ) and asyncio.get_running_loop().time() < ends_s:
            await asyncio.sleep(0.002)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


class Served:
    """A server that runs. `stop` and `start` again to be away for a while, on the same port."""

    def __init__(
        self,
        ledger: outlay.Ledger,
        settings: ServerSettings | None = None,
        port: int = 0,
        gateway: GatewaySettings | None = None,
    ) -> None:
        self.ledger = ledger
        self.gateway = gateway
        self.service: Any = None
        self.settings = settings or ServerSettings()
        self.port = port or free_port()
        self._server: Prompt | None = None
        self._thread: threading.Thread | None = None
        self._tell: Callable[[], object] = lambda: None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        service = self.service = create_app(self.ledger, self.settings, self.gateway)
        app: Any = service
        config = uvicorn.Config(app, port=self.port, log_config=None, lifespan="on")
        server = self._server = Prompt(config)
        started = threading.Event()

        async def serve() -> None:
            loop = asyncio.get_running_loop()

            def tell() -> None:
                # As a signal does to the real one: streams end before the server waits for its requests.
                service.state.stopping.set()
                server.told.set()

            self._tell = lambda: loop.call_soon_threadsafe(tell)
            task = asyncio.create_task(server.serve())
            while not server.started and not task.done():
                await asyncio.sleep(0.005)
            started.set()
            await task

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), name="served", daemon=True)
        self._thread.start()
        assert started.wait(STARTS_WITHIN_S), "the server did not start"
        assert server.started, "the server failed to start"

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._tell()
            self._thread.join(STARTS_WITHIN_S)
        self._server = self._thread = None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served(
    ledger: outlay.Ledger, settings: ServerSettings | None = None, gateway: GatewaySettings | None = None
) -> Iterator[Served]:
    """A server over a ledger, stopped at the end of the block."""
    server = Served(ledger, settings, gateway=gateway)
    server.start()
    try:
        yield server
    finally:
        server.stop()
