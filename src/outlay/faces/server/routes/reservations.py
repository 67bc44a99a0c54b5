"""Reservations of Outlay's own client, what a call may come to, and reservations as they stand.

Programs in other languages use the hot routes `/v1/reserve`, `/v1/settle`, `/v1/release` and `/v1/check`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from msgspec.structs import replace

from outlay.budgeting import WAIT_SECONDS_MAX
from outlay.budgets.decide import exceeded
from outlay.capture.intake import read_usage
from outlay.clock import isoformat
from outlay.errors import EventConflict, InvalidInput, LedgerError, NotFound
from outlay.faces.server.access import Caller
from outlay.faces.server.models import Expired, Extension, Outcome, ReservationAnswer, ReservationId, WorstCaseAnswer
from outlay.faces.server.routes.answering import (
    PROBLEMS,
    Anybody,
    Records,
    Rules,
    State,
    Unlogged,
    amount_text,
    exact,
    in_thread,
    plain,
    read_exact,
    wants_exact,
)
from outlay.faces.server.routes.budgets import said
from outlay.faces.server.state import ServerState
from outlay.holding import SETTLED
from outlay.ledger.budget_store import KeptReservation, Settled
from outlay.ledger.rules import fingerprint
from outlay.ledger.store import StaleBook
from outlay.model import Appended, Entry, UsageEvent
from outlay.model import Outcome as Code
from outlay.receipt import Receipt
from outlay.recorder import conflict, rated_tolerantly
from outlay.reserving import STALE_RETRIES_MAX, Ask, Taken
from outlay.wire import (
    EXACT,
    SentAsking,
    SentReservation,
    SentSettlement,
    SentWorth,
    received_event,
    sent_receipt,
)

router = APIRouter(tags=["reservations"], responses=PROBLEMS)
BOUND_NEEDED: Final = "bound_needed"
WAITING_MAX: Final = 64
DEADLINE_SECONDS_MAX: Final = 604_800
_waiting: Final[dict[int, CapacityLimiter]] = {}

Wanted = Annotated[Literal["decision", "affordable"] | None, Query(description="what else is to be told")]


@router.post("/v1/reservations", dependencies=[Unlogged], include_in_schema=False)
async def reserve(request: Request, caller: Records, state: State) -> Response:
    """Hold what a call of Outlay's own client may cost at worst. It may wait, so it has threads of its own."""
    sent = await read_exact(request, SentAsking)
    _check_waits(sent, state)
    return exact(await run_sync(lambda: _reserve(sent, caller, state), limiter=_limiter(state)))


@router.post("/v1/reservations/settle", dependencies=[Unlogged], include_in_schema=False)
async def settle(request: Request, caller: Records, state: State) -> Response:
    """Put what happened in the place of what is held."""
    sent = await read_exact(request, UsageEvent)
    return exact(await in_thread(lambda: _settle(sent, caller, state)))


@router.post("/v1/reservations/release", responses={200: {"model": Outcome}}, dependencies=[Unlogged])
async def release(caller: Records, state: State, sent: ReservationId) -> Response:
    """Let go of what is held: the call was not made."""

    def work() -> Settled:
        _kept(sent.id, caller, state)
        return state.ledger.store.release(sent.id, state.clock.now())

    return plain({"outcome": (await in_thread(work)).code})


@router.post("/v1/reservations/extend", responses={200: {"model": Outcome}}, dependencies=[Unlogged])
async def extend(caller: Records, state: State, sent: Extension) -> Response:
    """Move the deadline, for a call that runs long. `extended`, or the state it is in."""

    def work() -> Settled:
        _kept(sent.id, caller, state)
        return state.ledger.store.extend(sent.id, state.clock.now() + int(sent.seconds * 1_000_000))

    return plain({"outcome": (await in_thread(work)).code})


@router.post("/v1/reservations/expire", responses={200: {"model": Expired}})
async def expire(caller: Rules, state: State) -> Response:
    """Book every reservation that is overdue at its worst case, unsettled."""
    return plain({"expired": await in_thread(state.ledger.expire)})


@router.get("/v1/reservations/{id:path}", responses={200: {"model": ReservationAnswer, "content": {EXACT: {}}}})
async def reservation(request: Request, caller: Anybody, state: State, id: str) -> Response:
    """A reservation as it stands."""
    found = await in_thread(lambda: _kept(id, caller, state))
    return exact(found) if wants_exact(request) else plain(_json(found, state.ledger.currency))


@router.post(
    "/v1/bound", responses={200: {"model": WorstCaseAnswer, "content": {EXACT: {}}}}, dependencies=[Unlogged]
)
async def bound(request: Request, caller: Anybody, state: State, wanted: Wanted = None) -> Response:
    """What a call may cost at most: of the fields of an event, or of `body`, a request as sent (nothing is kept)."""
    if EXACT in request.headers.get("content-type", ""):
        sent = await read_exact(request, SentAsking)
        body = None
    else:
        told = await read_exact(request, dict[str, Any])
        body = told.pop("body", None)
        if body is not None and not isinstance(body, dict):
            raise InvalidInput("body is the request as sent: an object", code="bad_event", field="body")
        sent = SentAsking(fields=told)
    found, ask = await in_thread(lambda: _worth(sent, body, caller, state, wanted))
    if wants_exact(request):
        return exact(found)
    return plain(_worth_json(found, ask, state.ledger.currency))


def _check_waits(sent: SentAsking, state: ServerState) -> None:
    if sent.wait_s is not None and not 0 <= sent.wait_s <= WAIT_SECONDS_MAX:
        raise InvalidInput(f"wait_s is {sent.wait_s}; use 0 to {WAIT_SECONDS_MAX}", code="bad_wait", field="wait_s")
    if sent.deadline_s is not None and not 0 < sent.deadline_s <= DEADLINE_SECONDS_MAX:
        raise InvalidInput("deadline_s is more than 0 and at most a week", code="bad_wait", field="deadline_s")


def _limiter(state: ServerState) -> CapacityLimiter:
    """How many reservations may wait at once on this server."""
    found = _waiting.get(id(state))
    if found is None:
        _waiting.clear()
        found = _waiting[id(state)] = CapacityLimiter(state.settings.waiting_max)
    return found


def _reserve(sent: SentAsking, caller: Caller, state: ServerState) -> SentReservation:
    reserver = state.ledger.reserver
    fields = caller.attributed(sent.fields)
    first: list[Ask] = []

    def make(service: str | None) -> Ask:
        ask = _ask(sent, fields, service, state)
        ask.event = replace(ask.event, id_given=sent.id_given)
        first.append(ask)
        return ask

    # A reservation waits no longer than a server holds a request open.
    wait_s = None if sent.wait_s is None else min(sent.wait_s, state.settings.wait_seconds_max)
    taken: Taken = reserver.take(make, wait_s, sent.deadline_s)
    ask = taken.ask
    known = reserver.store.reservation(ask.event.id) if taken.code == "exists" else None
    tokens = ask.found.output_tokens_max if ask.found is not None else ask.event.usage.get("output_tokens")
    return SentReservation(
        id=ask.event.id,
        outcome=taken.code,
        service=ask.event.service,
        bound=reserver.worst(ask),
        started_at=ask.now if known is None else known.started_at,
        output_tokens_max=None if tokens is None else int(tokens),
        downgraded_from=taken.downgraded_from,
        allotted=ask.found.output_tokens_max if ask.allotted and ask.found is not None else None,
    )


def _ask(sent: SentAsking, fields: dict[str, Any], service: str | None, state: ServerState) -> Ask:
    """The call as the budgets are asked; of another service by the bound that the client worked out for it."""
    told = fields if service is None else {**fields, "service": service}
    found = None
    if sent.bounds:
        named = str(told.get("service"))
        found = sent.bounds.get(named)
        if found is None:
            raise InvalidInput(f"send the bound of this request to {named} too", code=BOUND_NEEDED, field=named)
        for usage in (found.usage, found.window_usage):
            read_usage(usage)
    return state.ledger.reserver.ask(told, None, found=found)


def _settle(sent: UsageEvent, caller: Caller, state: ServerState) -> SentSettlement:
    ledger, now = state.ledger, state.clock.now()
    kept = _kept(sent.id, caller, state)
    caller.attributed({name: getattr(sent, name) for name in caller.scope})
    event = replace(received_event(sent, now, ledger.currency), id_given=sent.id_given)
    result = _write(event, kept, state, now)
    if result.code == "no_such_reservation":
        raise NotFound(f"no reservation {sent.id!r} is in the ledger", code="no_such_reservation")
    if result.entry is None:
        raise EventConflict(f"reservation {sent.id!r} is over and its event cannot be compared", id=sent.id)
    if result.code not in (*SETTLED, Code.EXISTS, Code.SEEN):
        raise conflict(event, Appended(result.code, result.entry))
    ledger.reserver.note_output(event)
    receipt = Receipt.of_entry(result.entry, result.code, ledger.currency)
    return SentSettlement(receipt=sent_receipt(receipt), overruns=result.overruns)


def _write(event: UsageEvent, kept: KeptReservation, state: ServerState, now: int) -> Settled:
    """Rate and settle by the prices in force, which may change between the two."""
    recorder = state.ledger.recorder
    for _ in range(STALE_RETRIES_MAX):
        epoch = recorder.epoch  # Before the book, which another thread may read anew at any moment.
        rating = rated_tolerantly(event, recorder.book)
        entry = Entry(
            event=event,
            rating=rating,
            recorded_at=now,
            counted_at=kept.started_at,
            fingerprint=fingerprint(event),
            basis=rating.basis,
        )
        try:
            return recorder.store.settle(event.id, entry, epoch=epoch)
        except StaleBook:
            recorder.refresh()
    raise LedgerError("prices change faster than calls can be settled; try again", code="stale_book")


def _kept(id: str, caller: Caller, state: ServerState) -> KeptReservation:
    """A reservation that the caller may see. Raises NotFound `no_such_reservation`."""
    return state.ledger.reservation(id)


def _worth(
    sent: SentAsking, body: dict[str, Any] | None, caller: Caller, state: ServerState, wanted: str | None
) -> tuple[SentWorth, Ask]:
    reserver = state.ledger.reserver
    reserver.refresh()
    fields = caller.attributed(sent.fields)
    ask = reserver.ask(fields, body) if body is not None else _ask(sent, fields, None, state)
    decision = reserver.decide(ask) if wanted == "decision" else None
    tokens = reserver.afforded(ask) if wanted == "affordable" else None
    return SentWorth(bound=reserver.worst(ask), decision=decision, affordable=tokens), ask


def _worth_json(found: SentWorth, ask: Ask, currency: str) -> dict[str, Any]:
    worst, decision = found.bound, found.decision
    refusals: list[dict[str, str | None]] = []
    if decision is not None and not decision.granted:
        first = exceeded(decision, currency)
        refusals = [{"code": one.code, "budget": one.budget, "detail": one.message} for one in (first, *first.others)]
    return {
        "total": None if worst.total is None else amount_text(worst.total.pico),
        "currency": currency,
        "kind": worst.kind.value,
        "parts": [
            {
                "name": part.name,
                "kind": part.kind.value,
                "meter": part.meter,
                "quantity": str(part.quantity),
                "amount": None if part.amount is None else amount_text(part.amount),
                "note": part.note,
            }
            for part in worst.parts
        ],
        "output_tokens_max": worst.output_tokens_max,
        "fits": None if decision is None else decision.granted,
        "refusals": refusals,
        "affordable": found.affordable,
    }


def _json(found: KeptReservation, currency: str) -> dict[str, Any]:
    return {
        "id": found.id,
        "state": found.state.value,
        "started_at": isoformat(found.started_at),
        "deadline": isoformat(found.deadline),
        "held": [
            {
                "budget": share.key.budget,
                "subject": share.key.subject,
                "window": share.key.window,
                "unit": share.meter or currency,
                "amount": said(share.amount, share.meter),
            }
            for share in found.shares
        ],
    }
