"""Running a server: where it may listen, its socket, its signals."""

from __future__ import annotations

import gc
import logging
import resource
import signal
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from outlay.api import Ledger
from outlay.errors import AccessDenied, InvalidInput
from outlay.faces.gateway.settings import GatewaySettings
from outlay.faces.server.app import Service, create_app
from outlay.faces.server.logs import say, set_up
from outlay.faces.server.settings import ServerSettings

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

IDLE_SECONDS_MAX: Final = 75
"""How long a connection without a request is kept: longer than a balancer in front usually does."""

BACKLOG: Final = 2_048
_GARBAGE_THRESHOLDS: Final = (50_000, 20, 20)
"""Requests make many short-lived values and hardly a cycle: the collector looks less often."""


def serve(
    ledger: Ledger,
    settings: ServerSettings,
    gateway: GatewaySettings | None = None,
    *,
    gateway_only: bool = False,
    log_level: str = "info",
) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is under way, write what waits and return.

    Raises AccessDenied `open_to_others` for a server without keys on an address that others reach.
    """
    set_up(log_level)
    app = create_app(ledger, settings, gateway, gateway_only=gateway_only)
    app.state.gate.load()
    check_exposure(app, settings)
    _raise_file_limit()
    say(
        logging.INFO,
        "serving",
        host=settings.host,
        port=settings.port,
        ledger=_named(ledger),
        open=app.state.gate.open,
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    with ledger.watcher():
        _Server(app, _uvicorn_settings(app, settings)).run()


def check_exposure(app: Service, settings: ServerSettings) -> None:
    """Raises AccessDenied `open_to_others` where anybody on the network could do everything."""
    if app.state.gate.open and not settings.on_loopback:
        raise AccessDenied(
            f"this ledger has no keys, so that everybody who reaches {settings.host} could read and change it;"
            " make one with `outlay keys add --role admin`, or serve on 127.0.0.1",
            code="open_to_others",
        )


def _uvicorn_settings(app: Service, settings: ServerSettings) -> uvicorn.Config:
    if not 0 <= settings.port <= 65_535:
        raise InvalidInput(f"port is {settings.port}; use 0 to 65535", code="bad_config", field="port")

    class Connection(PatientConnection):
        header_seconds_max = settings.header_seconds_max
        body_seconds_max = settings.body_seconds_max

    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=Connection,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS_MAX,
        timeout_graceful_shutdown=int(settings.drain_seconds_max),
    )


class _Server(uvicorn.Server):
    """Tells the application at the first signal, so that streams end and balancers send others away."""

    def __init__(self, app: Service, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second SIGINT does not wait for what is under way.

        Not uvicorn's own, which raises the signal again in the end: the ledger would not be closed then.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._app.state.stopping.set()


class PatientConnection(HttpToolsProtocol):
    """A connection that is closed when a request takes too long to arrive: a slow client holds no place for ever.

    One timer a connection looks from time to time; a timer for every request would cost more than its parsing.
    """

    header_seconds_max = 15.0
    body_seconds_max = 30.0
    _look: asyncio.TimerHandle | None = None
    _headers_since_s = 0.0
    _body_since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first headers."""
        super().connection_made(transport)
        self._headers_since_s = self.loop.time()
        self._look = self.loop.call_later(self.header_seconds_max, self._look_again)

    def on_message_begin(self) -> None:
        """A request begins; its headers are waited for."""
        self._headers_since_s = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers are there; the body is waited for."""
        self._headers_since_s, self._body_since_s = 0.0, self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of the request is there."""
        self._body_since_s = 0.0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        super().connection_lost(exc)

    def _look_again(self) -> None:
        now_s = self.loop.time()
        slow_headers = self._headers_since_s and now_s - self._headers_since_s >= self.header_seconds_max
        # Twice the time, so that an answer that says so comes first where somebody reads the body.
        slow_body = self._body_since_s and now_s - self._body_since_s >= 2 * self.body_seconds_max
        if (slow_headers or slow_body) and not self.transport.is_closing():
            self.transport.close()
            return
        self._look = self.loop.call_later(self.header_seconds_max, self._look_again)


def _raise_file_limit() -> None:
    """Every connection is a file: take as many as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _named(ledger: Ledger) -> str:
    """The ledger's address without a password."""
    address = ledger.store.address
    scheme, there, rest = address.partition("://")
    return address if not there else f"{scheme}://{rest.rpartition('@')[2]}"
