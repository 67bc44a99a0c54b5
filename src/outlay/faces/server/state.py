"""What all routes of one server share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.requests import Request

from outlay.api import Ledger
from outlay.clock import Clock
from outlay.faces.server.reserving import Reservations
from outlay.faces.server.settings import ServerSettings

if TYPE_CHECKING:
    from outlay.faces.server.gate import Gate
    from outlay.faces.server.metrics import Metrics
    from outlay.faces.server.writer import Writer

STATE = "outlay.state"
"""Where a request's scope bears its ServerState."""


class ServerState:
    """The ledger of a server and what works on it.

    `writer` commits in groups: await `writer.record(events)`. Reads go through `ledger` on a thread of the pool,
    never on the loop's. `stopping` is set when the server is told to stop: streams end then.
    """

    def __init__(
        self, ledger: Ledger, settings: ServerSettings, writer: Writer, gate: Gate, metrics: Metrics
    ) -> None:
        """Made by `create_app`."""
        self.ledger = ledger
        self.settings = settings
        self.writer = writer
        self.gate = gate
        self.metrics = metrics
        self.reservations = Reservations(ledger)
        self.waiters = 0
        self.waiting_pool: ThreadPoolExecutor | None = None
        self.stopping = asyncio.Event()

    @property
    def clock(self) -> Clock:
        """The ledger's clock."""
        return self.ledger.clock


def state(request: Request) -> ServerState:
    """A FastAPI dependency: the server's state."""
    found: ServerState = request.scope[STATE]
    return found
