"""The hot routes: raw ASGI, before FastAPI. Each reads its body, gives the writer work, and answers after COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from outlay.errors import OutlayError
from outlay.faces.server import cloudevents
from outlay.faces.server.access import Caller, Role
from outlay.faces.server.ingest import EventOutcome, batch_answer, built, outcomes_of, read_events
from outlay.faces.server.limits import ASIDE_BYTES, Receive, read_body, unpack
from outlay.faces.server.problems import problem_body, problem_headers, status_of
from outlay.faces.server.state import ServerState
from outlay.model import UsageEvent

JSON: Final = (b"content-type", b"application/json")
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a hot route, let in by the gate."""

    scope: Mapping[str, Any]
    headers: dict[bytes, bytes]
    receive: Receive
    caller: Caller

    @property
    def content_type(self) -> str:
        """The media type, lower case, without parameters."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")

    @property
    def encoding(self) -> str:
        """The content-encoding, lower case."""
        return self.headers.get(b"content-encoding", b"").strip().lower().decode("latin-1")


Handler = Callable[[ServerState, Incoming], Awaitable[Answer]]


class HotRoute(msgspec.Struct, frozen=True):
    """A hot route: who may call it and what answers."""

    role: Role
    handler: Handler


def json_answer(value: Any, status: int = 200) -> Answer:
    """An answer in JSON; Decimals as text."""
    return Answer(status, _encode(value), [JSON])


def problem_answer(error: OutlayError) -> Answer:
    """The answer that an error is."""
    return Answer(status_of(error), problem_body(error), problem_headers(error))


async def body_of(state: ServerState, request: Incoming) -> bytes:
    """A request's body, unpacked. Raises BadRequest."""
    sent = await read_body(request.receive, request.headers, state.settings)
    encoding = request.encoding
    if not encoding:
        return sent
    return await asyncio.to_thread(unpack, sent, encoding, state.settings)


async def events(state: ServerState, request: Incoming) -> Answer:
    """POST /v1/events: one event, an array, or lines; plain or as CloudEvents. An outcome for each."""
    body = await body_of(state, request)
    currency = state.ledger.currency

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
    if not single:
        return json_answer(batch_answer(values, found))
    first = found[0]
    if isinstance(first, EventOutcome):
        return json_answer(first, 201 if first.outcome == "created" else 200)
    return problem_answer(first)


HOT: Final[dict[str, HotRoute]] = {
    "/v1/events": HotRoute(Role.INGEST, events),
}
"""The hot routes by path; all are POST."""
