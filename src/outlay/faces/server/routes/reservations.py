"""Reservations of Outlay's own client, what a call may come to, and reservations as they stand.

Programs in other languages use the hot routes `/v1/reserve`, `/v1/settle`, `/v1/release` and `/v1/check`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from msgspec.structs import replace

from outlay.budgeting import WAIT_SECONDS_MAX
from outlay.budgets.decide import exceeded
from outlay.capture.intake import read_usage
from outlay.clock import isoformat
from outlay.errors import InvalidInput, NotFound, Refused
from outlay.faces.server.access import Caller
from outlay.faces.server.hot_budgets import taken_by
from outlay.faces.server.keeping_models import Expired, Extension, ReservationAnswer, ReservationId, WorstCaseAnswer
from outlay.faces.server.models import Outcome
from outlay.faces.server.reserving import Reserve, Settle
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
from outlay.faces.server.routes.receipts import CLIENTS_GROUP_MAX, kept_receipt, recorded
from outlay.faces.server.state import ServerState
from outlay.ledger.budget_store import KeptReservation, ReservationState, Settled
from outlay.model import Appended, Recorded, UsageEvent
from outlay.reserving import Ask, Taken
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
DEADLINE_SECONDS_MAX: Final = 604_800

Wanted = Annotated[Literal["decision", "affordable"] | None, Query(description="what else is to be told")]


@router.post("/v1/reservations", dependencies=[Unlogged], include_in_schema=False)
async def reserve(request: Request, caller: Records, state: State) -> Response:
    """Hold what a call of Outlay's own client may cost at worst. It may wait, so it has threads of its own."""
    sent = await read_exact(request, SentAsking)
    wait_s = _waits(sent, state)
    fields = caller.attributed(sent.fields)
    work = Reserve(
        fields,
        None,
        wait_s=wait_s,
        deadline_s=sent.deadline_s,
        make=lambda service: _ask(sent, fields, service, state),
    )
    taken = await taken_by(state, work)
    return exact(await in_thread(lambda: _reserved(taken, caller, state)))


@router.post("/v1/reservations/settle", dependencies=[Unlogged], include_in_schema=False)
async def settle(request: Request, caller: Records, state: State, or_record: bool = False) -> Response:
    """Put what happened in the place of what is held; `or_record` where the client does not know if it is."""
    sent = await read_exact(request, UsageEvent)
    return exact(await _settled(sent, caller, state, or_record=or_record))


@router.post("/v1/reservations/settle/batch", dependencies=[Unlogged], include_in_schema=False)
async def settle_group(request: Request, caller: Records, state: State) -> Response:
    """Settlements that waited while this server was away; an outcome for each. What nobody holds is recorded."""
    sent = await read_exact(request, list[UsageEvent])
    if len(sent) > CLIENTS_GROUP_MAX:
        raise InvalidInput(f"at most {CLIENTS_GROUP_MAX:,} events in a group", code="too_many_events")
    each = (_settled(event, caller, state, or_record=True) for event in sent)
    found = await asyncio.gather(*each, return_exceptions=True)
    return exact([_outcome(at, event, one) for at, (event, one) in enumerate(zip(sent, found, strict=True))])


async def _settled(sent: UsageEvent, caller: Caller, state: ServerState, *, or_record: bool) -> SentSettlement:
    """Settle one event, or where nothing is held for it and that may be, record it."""
    event = replace(received_event(sent, state.clock.now(), state.ledger.currency), id_given=sent.id_given)
    event = replace(event, **caller.attributed({name: getattr(event, name) for name in caller.scope}))
    try:
        event, settled = await state.writer.do(Settle(event.id, {}, None, caller, event))
    except NotFound:
        if not or_record:
            raise
        (result,) = await recorded(state, [event], tolerant=True)
        if isinstance(result, InvalidInput):
            raise result from None
        # As a file does with what its budgets let go unheld.
        code = "settled" if result.code == "created" else result.code
        return SentSettlement(receipt=sent_receipt(kept_receipt(event, Appended(code, result.entry), state)))
    state.metrics.reservations[settled.code] += 1
    return SentSettlement(
        receipt=sent_receipt(kept_receipt(event, Appended(settled.code, settled.entry), state)),
        overruns=settled.overruns,
    )


def _outcome(at: int, event: UsageEvent, found: SentSettlement | BaseException) -> Recorded:
    if isinstance(found, SentSettlement):
        return Recorded(at, event.id, found.receipt.outcome)
    if isinstance(found, InvalidInput | Refused):
        return Recorded(at, event.id, found.code, message=found.message)
    raise found


@router.post("/v1/reservations/release", responses={200: {"model": Outcome}}, dependencies=[Unlogged])
async def release(caller: Records, state: State, sent: ReservationId) -> Response:
    """Let go of what is held: the call was not made."""

    def work() -> Settled:
        # What was released already says so again, to a server that was restarted in between too.
        if state.ledger.reservation(sent.id).state is not ReservationState.RELEASED:
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


def _waits(sent: SentAsking, state: ServerState) -> float | None:
    """For how long a reservation may wait: no longer than this server holds a request open."""
    if sent.wait_s is not None and not 0 <= sent.wait_s <= WAIT_SECONDS_MAX:
        raise InvalidInput(f"wait_s is {sent.wait_s}; use 0 to {WAIT_SECONDS_MAX}", code="bad_wait", field="wait_s")
    if sent.deadline_s is not None and not 0 < sent.deadline_s <= DEADLINE_SECONDS_MAX:
        raise InvalidInput("deadline_s is more than 0 and at most a week", code="bad_wait", field="deadline_s")
    return None if sent.wait_s is None else min(sent.wait_s, state.settings.wait_seconds_max)


def _reserved(taken: Taken, caller: Caller, state: ServerState) -> SentReservation:
    """What the client keeps of its reservation."""
    ask, reserver = taken.ask, state.ledger.reserver
    again = taken.code == "exists"
    tokens = ask.found.output_tokens_max if ask.found is not None else ask.event.usage.get("output_tokens")
    return SentReservation(
        id=ask.event.id,
        outcome=taken.code,
        service=ask.event.service,
        bound=reserver.worst(ask),
        started_at=state.reservations.find(ask.event.id, caller).counted_at if again else ask.now,
        output_tokens_max=None if tokens is None else int(tokens),
        downgraded_from=taken.downgraded_from,
        epoch=ask.epoch,
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
    ask = state.ledger.reserver.ask(told, None, found=found)
    ask.event = replace(ask.event, id_given=sent.id_given)
    return ask


def _kept(id: str, caller: Caller, state: ServerState) -> KeptReservation:
    """A reservation that the caller may see. Raises NotFound `no_such_reservation`."""
    found = state.ledger.reservation(id)
    state.reservations.find(id, caller)
    return found


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
