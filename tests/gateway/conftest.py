"""A gateway over a real server, in front of a server that plays recordings back."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.playback_server import PlaybackServer
from tests.served import Served

import outlay
from outlay.faces.gateway.settings import read_gateway_settings
from outlay.faces.gateway.upstreams import KINDS
from outlay.faces.server.settings import ServerSettings

NAMES = (*(name for name in KINDS if name not in ("aws", "compatible")), "gemini")
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For httpx where nothing is encrypted: reading the certificates of its own context takes longer than a call."""

AWS_KEY = "AKIDGATEWAY:gateway-secret"


class Gatewayed:
    """A playback server with a gateway before it."""

    def __init__(self, playback: PlaybackServer, ledger: outlay.Ledger, served: Served) -> None:
        self.playback = playback
        self.ledger = ledger
        self.served = served

    def url(self, upstream: str) -> str:
        """The address that a client takes for its provider's."""
        return f"{self.served.address}/gateway/{upstream}"

    def settled(self) -> outlay.Ledger:
        """The ledger once all that was answered is in it."""
        accounts, writer = self.served.service.gateway.accounts, self.served.service.state.writer
        until = time.monotonic() + 10
        while accounts.unsettled or writer.waiting or self.served.service.gateway._calls:
            assert time.monotonic() < until, "what was answered was not settled"
            time.sleep(0.002)
        self.ledger.flush()
        return self.ledger

    def events(self) -> list[outlay.Receipt]:
        """All receipts, the oldest first."""
        return list(self.settled().events())


def upstreams_at(url: str, **more: dict[str, Any]) -> dict[str, Any]:
    """Every known upstream, played by one server."""
    found: dict[str, Any] = {name: {"url": url} for name in NAMES}
    found["bedrock"] = {"url": url, "region": "us-east-1", "key": AWS_KEY}
    found["local"] = {"url": url + "/inner", "provider": "my-vllm"}
    return {**found, **more}


@contextmanager
def gatewayed(
    ledger: outlay.Ledger, *, server: ServerSettings | None = None, environment: Any = None, **settings: Any
) -> Iterator[Gatewayed]:
    """A playback server and a gateway for the time of a block; `upstreams` are added to those that are known."""
    more = settings.pop("upstreams", {})
    with ExitStack() as ending:
        playback = PlaybackServer()
        ending.callback(playback.close)
        told = {**settings, "upstreams": upstreams_at(playback.url, **more)}
        served = Served(ledger, server, gateway=read_gateway_settings(told, environment or {}))
        served.start()
        ending.callback(served.stop)
        yield Gatewayed(playback, ledger, served)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gatewayed]:
    """One gateway for all tests of a module that leave no budgets and no keys behind."""
    with outlay.open(tmp_path_factory.mktemp("gateway") / "outlay.db") as ledger, gatewayed(ledger) as found:
        yield found


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gatewayed]:
    """A gateway of one test's own."""
    with outlay.open(tmp_path / "outlay.db") as ledger, gatewayed(ledger) as found:
        yield found


@pytest.fixture
def open_gateway(tmp_path: Path) -> Iterator[Callable[..., Gatewayed]]:
    """A function that opens a gateway with settings of its own."""
    with ExitStack() as ending:
        ledger = ending.enter_context(outlay.open(tmp_path / "outlay.db"))
        yield lambda **settings: ending.enter_context(gatewayed(ledger, **settings))
