"""Live receipts as server-sent events: few frames, each of what is new, the rest as a count.

A subscriber is never waited for and nothing is queued for it: the newest entries are read once for all, and each
frame is what lies behind the place that its subscriber has reached, so a slow one gets fewer and fuller frames. The
id of a frame is that place, the watermark.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final
from weakref import WeakKeyDictionary

import msgspec
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from outlay.clock import isoformat
from outlay.errors import LedgerError
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
from outlay.ledger.store import EntryFilter, LedgerStore
from outlay.ledger.tallies import check_entry_filter, matches
from outlay.model import Entry

logger = logging.getLogger("outlay.server")
router = APIRouter(tags=["live"], responses=PROBLEMS)

FRAME_S: Final = 0.25
FRAME_RECEIPTS: Final = 50
LOOK_MAX: Final = 1_000
TAIL_MAX: Final = 5_000
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


class Tail:
    """The newest entries of a ledger, read once for all subscribers of a server. Used on the server's loop only."""

    def __init__(self, store: LedgerStore) -> None:
        """Begins at the ledger's end when it is first asked."""
        self._store = store
        self._entries: deque[Entry] = deque(maxlen=TAIL_MAX)
        self._reading = asyncio.Lock()
        self._read_s = 0.0
        self._began = -1
        self.place = 0

    async def fresh(self) -> None:
        """Read what is new, unless that was done a moment ago."""
        async with self._reading:
            loop = asyncio.get_running_loop()
            if self._began >= 0 and loop.time() - self._read_s < FRAME_S / 2:
                return
            if self._began < 0:
                self._began = self.place = await in_thread(partial(_newest, self._store))
            while new := await in_thread(partial(self._behind, {}, self.place)):
                self._entries.extend(new)
                self.place = new[-1].seq
            self._read_s = loop.time()

    async def behind(self, where: Filter, place: int) -> tuple[list[Entry], int]:
        """Entries behind a place that a filter lets through, and how far was looked."""
        if place >= self.place:
            return [], place
        first = self._entries[0].seq if self._entries else self.place + 1
        if place >= self._began and place + 1 >= first:
            return [one for one in self._entries if one.seq > place and matches(one, where)], self.place
        # Further back than the tail reaches: a subscriber who comes back after a while. What is written or read
        # by others meanwhile comes with the next frame: neither told twice nor passed over.
        reached = self.place
        found = await in_thread(partial(self._behind, where, place))
        if len(found) == LOOK_MAX:
            return found, found[-1].seq
        return [one for one in found if one.seq <= reached], reached

    def _behind(self, where: Filter, place: int) -> list[Entry]:
        chosen = EntryFilter(where=where, live_only=False, after=place)
        return list(islice(self._store.entries(chosen, LOOK_MAX), LOOK_MAX))


_tails: WeakKeyDictionary[ServerState, Tail] = WeakKeyDictionary()


async def newest(state: ServerState) -> int:
    """The watermark: the place of the ledger's newest entry, 0 in an empty one."""
    return await in_thread(partial(_newest, state.ledger.store))


def _newest(store: LedgerStore) -> int:
    found = next(iter(store.entries(EntryFilter(newest_first=True, live_only=False), 1)), None)
    return 0 if found is None else found.seq


@router.get("/v1/live", responses=STREAM, openapi_extra=WHERE, response_class=Response)
async def live(
    request: Request, caller: Reads, state: State, last_event_id: LastEventId = None, seconds: Seconds = None
) -> Response:
    """Receipts as they are recorded: at most 4 frames a second of 50 receipts each, the rest as a count."""
    where = filter_of(request, caller)
    check_entry_filter(where)
    place = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    stream = _frames(request, state, where, place, seconds)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _frames(
    request: Request, state: ServerState, where: Filter, place: int | None, seconds: float | None
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends_s = None if seconds is None else loop.time() + seconds
    tail = _tails.setdefault(state, Tail(state.ledger.store))
    await tail.fresh()
    place = tail.place if place is None else place
    yield b"retry: 1000\nid: %d\nevent: begin\ndata: {}\n\n" % place
    said_s = loop.time()
    while not state.stopping.is_set() and (ends_s is None or loop.time() < ends_s):
        found: list[Entry] = []
        try:
            await tail.fresh()
            found, place = await tail.behind(where, place)
        except LedgerError as error:
            logger.warning("live receipts wait (%s)", error.code)
        if found:
            yield _told(found, place, state.ledger.currency)
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


def _told(found: list[Entry], place: int, currency: str) -> bytes:
    """A frame: the last 50 in full, the others as a count."""
    told = found[-FRAME_RECEIPTS:]
    body = {"receipts": [_receipt(entry, currency) for entry in told], "more": len(found) - len(told)}
    return b"id: %d\nevent: receipts\ndata: %s\n\n" % (place, msgspec.json.encode(body))


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
