"""Receipts: kept, asked for, explained, corrected, cancelled. Outlay's own client records here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from msgspec.structs import replace

from outlay.capture.intake import build_event
from outlay.clock import isoformat
from outlay.errors import InvalidInput
from outlay.faces.server.access import Caller
from outlay.faces.server.models import CallSent, CancellationSent, CorrectionSent, ReceiptAnswer, ReceiptPage
from outlay.faces.server.routes.answering import (
    PROBLEMS,
    WHERE,
    Anybody,
    Cursor,
    Day,
    Limit,
    Reads,
    Records,
    Rules,
    Since,
    State,
    Unlogged,
    Until,
    amount_text,
    cursor_of,
    exact,
    filter_of,
    in_thread,
    instant_of,
    must_see,
    place_of,
    plain,
    read_exact,
    wants_exact,
)
from outlay.faces.server.state import ServerState
from outlay.holding import SETTLED
from outlay.ledger.store import EntryFilter
from outlay.model import Appended, Entry, Outcome, Recorded, UsageEvent
from outlay.receipt import PRICED, Receipt
from outlay.recorder import conflict
from outlay.wire import EXACT, SentPage, received_event, sent_receipt

router = APIRouter(tags=["receipts"], responses=PROBLEMS)
ONE: Final[dict[int | str, dict[str, Any]]] = {200: {"model": ReceiptAnswer, "content": {EXACT: {}}}}
WRITTEN: Final = (Outcome.CREATED, Outcome.EXISTS, Outcome.SEEN, *SETTLED)
RECEIPTS_PAGE: Final = 100
CLIENTS_GROUP_MAX: Final = 10_000


class EventSent(msgspec.Struct, frozen=True, kw_only=True):
    """One finished call of Outlay's own client. `tolerant` keeps numbers that contradict each other, unpriced."""

    event: UsageEvent
    tolerant: bool = False


class EventsSent(msgspec.Struct, frozen=True, kw_only=True):
    """A group of them."""

    events: list[UsageEvent]
    tolerant: bool = True


@router.get("/v1/receipts", responses={200: {"model": ReceiptPage, "content": {EXACT: {}}}}, openapi_extra=WHERE)
async def receipts(
    request: Request,
    caller: Reads,
    state: State,
    since: Since = None,
    until: Until = None,
    limit: Limit = RECEIPTS_PAGE,
    cursor: Cursor = None,
    newest: Annotated[bool, Query(description="the last recorded first")] = False,
) -> Response:
    """The live events, in the order in which they were recorded."""
    where, place = filter_of(request, caller), place_of(cursor)
    ledger = state.ledger

    def walk() -> list[Entry]:
        chosen = EntryFilter(
            since=instant_of(state, since),
            until=instant_of(state, until),
            where=where,
            newest_first=newest,
            after=place or None,
        )
        return list(islice(ledger.store.entries(chosen, limit + 1), limit + 1))

    found = await in_thread(walk)
    page = [Receipt.of_entry(entry, Outcome.EXISTS.value, ledger.currency) for entry in found[:limit]]
    following = cursor_of(found[limit - 1].seq) if len(found) > limit else None
    if wants_exact(request):
        return exact(SentPage(receipts=tuple(map(sent_receipt, page)), next=following))
    return plain({"receipts": [receipt_json(one) for one in page], "next": following})


@router.get("/v1/receipts/{id:path}", responses=ONE)
async def receipt(request: Request, caller: Reads, state: State, id: str, day: Day = None) -> Response:
    """One event's receipt as it stands: its lines, the arithmetic in words, and all its versions."""
    found = await in_thread(lambda: state.ledger.event(id, day))
    must_see(caller, found.event)
    return _told(request, found)


@router.post("/v1/corrections", responses=ONE)
async def correct(request: Request, caller: Rules, state: State, sent: CorrectionSent) -> Response:
    """Put right what was recorded: a reversal and a new entry. The occurred time stays."""
    found = await in_thread(
        lambda: state.ledger.correct(sent.id, reason=sent.reason, day=sent.day, **_changes(sent.changes))
    )
    return _told(request, found)


@router.post("/v1/cancellations", responses=ONE)
async def cancel(request: Request, caller: Rules, state: State, sent: CancellationSent) -> Response:
    """Take an event out of all sums by a reversal; it stays readable."""
    found = await in_thread(lambda: state.ledger.cancel(sent.id, reason=sent.reason, day=sent.day))
    return _told(request, found)


@router.post(
    "/v1/price",
    responses=ONE,
    dependencies=[Unlogged],
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": CallSent.model_json_schema()}}}
    },
)
async def price(request: Request, caller: Anybody, state: State) -> Response:
    """What a call would cost: nothing of it is kept. The body has the fields of an event."""
    ledger = state.ledger
    if EXACT in request.headers.get("content-type", ""):
        event = received_event(await read_exact(request, UsageEvent), state.clock.now(), ledger.currency)
    else:
        fields = await read_exact(request, dict[str, Any])
        event = build_event(fields, state.clock.now(), ledger.currency, id=PRICED)
    rating = await in_thread(lambda: ledger.recorder.rate(event))
    return _told(request, Receipt(event, PRICED, ledger.currency, rating))


@router.post("/v1/receipts", responses=ONE, dependencies=[Unlogged], include_in_schema=False)
async def record(request: Request, caller: Records, state: State) -> Response:
    """Keep one call of Outlay's own client, and answer its receipt."""
    sent = await read_exact(request, EventSent)
    event = _received(sent.event, caller, state)
    (result,) = await recorded(state, [event], tolerant=sent.tolerant)
    if isinstance(result, InvalidInput):
        raise result
    return exact(sent_receipt(kept_receipt(event, result, state)))


@router.post("/v1/receipts/batch", dependencies=[Unlogged], include_in_schema=False)
async def record_group(request: Request, caller: Records, state: State) -> Response:
    """Keep a group of calls of Outlay's own client; an outcome for each, in order."""
    sent = await read_exact(request, EventsSent)
    if len(sent.events) > CLIENTS_GROUP_MAX:
        raise InvalidInput(f"at most {CLIENTS_GROUP_MAX:,} events in a group", code="too_many_events")
    taken = await in_thread(lambda: [_taken(event, caller, state) for event in sent.events])
    events = [one for one in taken if isinstance(one, UsageEvent)]
    results = iter(await recorded(state, events, tolerant=sent.tolerant))
    both = zip(sent.events, taken, strict=True)
    return exact([_outcome(at, told, one, results, state) for at, (told, one) in enumerate(both)])


async def recorded(state: ServerState, events: list[UsageEvent], *, tolerant: bool) -> list[Appended | InvalidInput]:
    """What became of each event. One that no ledger can hold stops no other."""
    if not events:
        return []
    try:
        return await state.writer.record(events, tolerant=tolerant)
    except InvalidInput as error:
        if len(events) == 1:
            return [error]
    each = await asyncio.gather(*(recorded(state, [event], tolerant=tolerant) for event in events))
    return [result for (result,) in each]


def _taken(sent: UsageEvent, caller: Caller, state: ServerState) -> UsageEvent | InvalidInput:
    try:
        return _received(sent, caller, state)
    except InvalidInput as error:
        return error


def _outcome(
    at: int,
    sent: UsageEvent,
    taken: UsageEvent | InvalidInput,
    results: Iterator[Appended | InvalidInput],
    state: ServerState,
) -> Recorded:
    """What became of one event of a group: refused as it was read, refused as it was rated, or kept."""
    if isinstance(taken, InvalidInput):
        return Recorded(at, sent.id, taken.code, message=taken.message)
    result = next(results)
    if isinstance(result, InvalidInput):
        return Recorded(at, sent.id, result.code, message=result.message)
    return state.ledger.recorder.recorded(at, taken, result)


def _received(sent: UsageEvent, caller: Caller, state: ServerState) -> UsageEvent:
    """An event as sent, checked, with what the caller's key fixes."""
    caller.attributed({name: getattr(sent, name) for name in caller.scope})
    event = received_event(sent, state.clock.now(), state.ledger.currency)
    return replace(event, **caller.scope) if caller.scope else event


def kept_receipt(event: UsageEvent, result: Appended, state: ServerState) -> Receipt:
    """The receipt of what the recorder did. Raises EventConflict."""
    currency = state.ledger.currency
    if result.entry is not None and result.code in WRITTEN:
        return Receipt.of_entry(result.entry, result.code, currency)
    if result.code in (Outcome.EXISTS, Outcome.SEEN):
        return Receipt(event, result.code, currency, state.ledger.recorder.rate(event))
    raise conflict(event, result)


def _changes(changes: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "reason", "day"):
        if name in changes:
            raise InvalidInput(f"{name} is no change; give it beside `changes`", code="unknown_field", field=name)
    return changes


def _told(request: Request, found: Receipt) -> Response:
    if wants_exact(request):
        return exact(sent_receipt(found))
    return plain({**receipt_json(found), "explain": found.explain(), "history": list(map(_version, found.versions))})


def receipt_json(found: Receipt) -> dict[str, Any]:
    """A receipt for everyone."""
    return found.as_dict()


def _version(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "kind": entry.kind.value,
        "sign": entry.sign,
        "amount": amount_text(entry.sign * entry.rating.amount),
        "recorded_at": isoformat(entry.recorded_at),
        "basis": entry.basis.value,
        "reason": entry.reason,
    }
