"""Live receipts as server-sent events: few frames, each of what is new, the rest as a count.

A subscriber is never waited for and nothing is queued for it: each frame is read from the ledger behind the place
that it has reached, so a slow one gets fewer and fuller frames. The id of a frame is that place, the watermark.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from outlay.clock import isoformat
from outlay.faces.server.routes.answering import (
    PROBLEMS,
    WHERE,
    Filter,
    Reads,
    State,
    amount_text,
    filter_of,
    in_thread,
)
from outlay.faces.server.state import ServerState
from outlay.ledger.store import EntryFilter
from outlay.model import Entry

router = APIRouter(tags=["live"], responses=PROBLEMS)

FRAME_S: Final = 0.25
FRAME_RECEIPTS: Final = 50
LOOK_MAX: Final = 1_000
SILENCE_S: Final = 15.0
_TEXT: Final = {"type": "string"}
_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"enum": ["begin", "receipts"]},
        "id": _TEXT,
        "data": _TEXT,
        "retry": {"type": "integer"},
    },
}
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "`receipts` frames", "content": {"text/event-stream": {"schema": _EVENT}}}
}

LastEventId = Annotated[str | None, Header(description="the id of the last frame that was seen", max_length=20)]
Seconds = Annotated[float | None, Query(description="end the stream after so many seconds", ge=0, le=86_400)]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What is new behind a place: the newest receipts, and how many more there were."""

    place: int
    entries: list[Entry]
    more: int


@router.get("/v1/live", responses=STREAM, openapi_extra=WHERE, response_class=Response)
async def live(
    request: Request, caller: Reads, state: State, last_event_id: LastEventId = None, seconds: Seconds = None
) -> Response:
    """Receipts as they are recorded: at most 4 frames a second of 50 receipts each, the rest as a count."""
    where = filter_of(request, caller)
    place = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    stream = _frames(request, state, where, place, seconds)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _frames(
    request: Request, state: ServerState, where: Filter, place: int | None, seconds: float | None
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends_s = None if seconds is None else loop.time() + seconds
    if place is None:
        place = await in_thread(lambda: _newest(state))
    yield b"retry: 1000\nid: %d\nevent: begin\ndata: {}\n\n" % place
    said_s = loop.time()
    while not state.stopping.is_set() and (ends_s is None or loop.time() < ends_s):
        frame = await in_thread(partial(_behind, state, where, place))
        place = frame.place
        if frame.entries:
            yield _told(frame, state.ledger.currency)
            said_s = loop.time()
        elif loop.time() - said_s > SILENCE_S:
            yield b": still there\n\n"
            said_s = loop.time()
        if await request.is_disconnected():
            return
        await _pause(state, FRAME_S if ends_s is None else min(FRAME_S, max(ends_s - loop.time(), 0)))


async def _pause(state: ServerState, seconds: float) -> None:
    """Wait for the next frame, or for the server's end."""
    try:
        await asyncio.wait_for(state.stopping.wait(), seconds)
    except TimeoutError:
        return


def _newest(state: ServerState) -> int:
    """The place of the newest entry."""
    newest = next(iter(state.ledger.store.entries(EntryFilter(newest_first=True, live_only=False), 1)), None)
    return 0 if newest is None else newest.seq


def _behind(state: ServerState, where: Filter, place: int) -> Frame:
    """Up to a thousand entries behind a place: the last 50 in full, the others as a count."""
    chosen = EntryFilter(where=where, live_only=False, after=place)
    found = list(islice(state.ledger.store.entries(chosen, LOOK_MAX), LOOK_MAX))
    told = found[-FRAME_RECEIPTS:]
    return Frame(place=found[-1].seq if found else place, entries=told, more=len(found) - len(told))


def _told(frame: Frame, currency: str) -> bytes:
    body = {"receipts": [_receipt(entry, currency) for entry in frame.entries], "more": frame.more}
    return b"id: %d\nevent: receipts\ndata: %s\n\n" % (frame.place, msgspec.json.encode(body))


def _receipt(entry: Entry, currency: str) -> dict[str, Any]:
    """A receipt in a line: who, what, how much."""
    event, rating = entry.event, entry.rating
    return {
        "id": event.id,
        "time": isoformat(event.occurred_from),
        "kind": entry.kind.value,
        "provider": event.provider,
        "service": event.service,
        "operation": event.operation,
        "user": event.user,
        "feature": event.feature,
        "job": event.job,
        "status": event.status.value,
        "pricing_status": rating.status.value,
        "total": amount_text(entry.sign * rating.amount),
        "currency": currency,
    }
