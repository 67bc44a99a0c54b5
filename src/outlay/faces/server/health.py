"""Whether the server lives, whether it can serve, and its counters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from outlay.errors import LedgerError
from outlay.faces.server.exchange import Answer, json_answer
from outlay.faces.server.metrics import CONTENT_TYPE
from outlay.faces.server.state import ServerState

READY_SECONDS_MAX: Final = 5.0


async def healthz(state: ServerState) -> Answer:
    """GET /healthz: 200 while the process can write; a supervisor restarts it otherwise."""
    alive = state.writer.alive or state.stopping.is_set()
    return json_answer({"alive": alive}, 200 if alive else 503)


async def readyz(state: ServerState) -> Answer:
    """GET /readyz: 200 while the ledger answers and the server is not told to stop; a balancer sends others away."""
    reason = ""
    if state.stopping.is_set():
        reason = "stopping"
    else:
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                await asyncio.to_thread(state.ledger.store.epoch)
        except LedgerError as error:
            reason = error.code
        except TimeoutError:
            reason = "ledger_slow"
    return json_answer({"ready": not reason, "reason": reason}, 503 if reason else 200)


async def metrics(state: ServerState) -> Answer:
    """GET /metrics: what Prometheus reads."""
    return Answer(200, state.metrics.text(), [(b"content-type", CONTENT_TYPE)])


ROUTES: Final[dict[str, Callable[[ServerState], Awaitable[Answer]]]] = {
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": metrics,
}
"""All are GET."""
