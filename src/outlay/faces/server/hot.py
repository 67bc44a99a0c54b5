"""The hot routes: raw ASGI, before FastAPI. Each reads its body, gives the writer work, and answers after COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from outlay.errors import OutlayError
from outlay.faces.server import cloudevents, hot_budgets, otlp
from outlay.faces.server.access import Role
from outlay.faces.server.exchange import Answer, Incoming, body_of, json_answer, problem_answer
from outlay.faces.server.ingest import (
    JSON_TYPES,
    EventOutcome,
    batch_answer,
    built,
    outcome_of,
    outcomes_of,
    read_events,
)
from outlay.faces.server.limits import ASIDE_BYTES, read_json
from outlay.faces.server.state import ServerState
from outlay.faces.server.writer import Events
from outlay.model import UsageEvent

Handler = Callable[[ServerState, Incoming], Awaitable[Answer]]


class HotRoute(msgspec.Struct, frozen=True):
    """A hot route: who may call it and what answers."""

    role: Role
    handler: Handler


async def events(state: ServerState, request: Incoming) -> Answer:
    """POST /v1/events: one event, an array, or lines; plain or as CloudEvents. An outcome for each."""
    body = await body_of(state, request)
    currency = state.ledger.currency
    plain = request.content_type == JSON_TYPES[0] and not cloudevents.is_one(JSON_TYPES[0], request.headers)
    if plain and body.startswith(b"{"):
        # By far the most frequent request: one event by itself, without the lists that a batch needs.
        return await _event(state, request, read_json(body, state.settings.depth_max))

    def read() -> tuple[list[Any], list[UsageEvent | OutlayError], bool]:
        if cloudevents.is_one(request.content_type, request.headers):
            values, single = cloudevents.read(body, request.content_type, request.headers, state.settings)
        else:
            values, single = read_events(body, request.content_type, state.settings)
        return values, built(values, request.caller, state.clock.now(), currency), single

    values, items, single = read() if len(body) <= ASIDE_BYTES else await asyncio.to_thread(read)
    accepted = [item for item in items if isinstance(item, UsageEvent)]
    kept = await state.writer.record(accepted) if accepted else []
    found = outcomes_of(values, items, kept, currency)
    for one in found:
        state.metrics.events[one.code if isinstance(one, OutlayError) else one.outcome] += 1
    return _alone(found[0]) if single else json_answer(batch_answer(values, found))


async def _event(state: ServerState, request: Incoming, value: Any) -> Answer:
    currency = state.ledger.currency
    found: EventOutcome | OutlayError
    (item,) = built((value,), request.caller, state.clock.now(), currency)
    if isinstance(item, UsageEvent):
        (kept,) = await state.writer.do(Events((item,), tolerant=False))
        found = outcome_of(0, item, kept, currency)
    else:
        found = item
    state.metrics.events[found.code if isinstance(found, OutlayError) else found.outcome] += 1
    return _alone(found)


def _alone(found: EventOutcome | OutlayError) -> Answer:
    """The answer to one event by itself."""
    if isinstance(found, EventOutcome):
        return json_answer(found, 201 if found.outcome == "created" else 200)
    return problem_answer(found)


HOT: Final[dict[str, HotRoute]] = {
    "/v1/events": HotRoute(Role.INGEST, events),
    "/v1/traces": HotRoute(Role.INGEST, otlp.traces),
    "/v1/reserve": HotRoute(Role.INGEST, hot_budgets.reserve),
    "/v1/settle": HotRoute(Role.INGEST, hot_budgets.settle),
    "/v1/release": HotRoute(Role.INGEST, hot_budgets.release),
    "/v1/check": HotRoute(Role.INGEST, hot_budgets.check),
}
"""The hot routes by path; all are POST."""
