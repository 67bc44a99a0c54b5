"""The hot routes about budgets: reserve, settle, release, check, for programs in any language."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from outlay.budgets.decide import exceeded
from outlay.errors import InvalidInput, NotFound, Overloaded
from outlay.faces.server.exchange import Answer, Incoming, body_of, json_answer
from outlay.faces.server.ingest import amount_text
from outlay.faces.server.limits import read_json
from outlay.faces.server.reserving import Reserve, Settle
from outlay.faces.server.state import ServerState
from outlay.ledger.budget_store import ReservationState, Settled
from outlay.model import UsageEvent
from outlay.reserving import Ask, Taken

DEADLINE_SECONDS_MAX: Final = 604_800
_ASKED: Final = frozenset(("body", "wait_s", "deadline_s"))


async def reserve(state: ServerState, request: Incoming) -> Answer:
    """POST /v1/reserve: hold what a call may cost at worst in every budget that covers it, all or none.

    The fields of an event, `usage` being the worst case, or `body`: the request as it will be sent; `wait_s` and
    `deadline_s`. 201 reserved, 200 the same id again, 402 or 429 refused.
    """
    told = await _told(state, request)
    fields = request.caller.attributed({name: value for name, value in told.items() if name not in _ASKED})
    body = _mapping(told, "body")
    wait_s = _seconds(told, "wait_s", 0, state.settings.wait_seconds_max)
    deadline_s = _seconds(told, "deadline_s", 1, DEADLINE_SECONDS_MAX)
    work = Reserve(fields, body, wait_s=wait_s, deadline_s=deadline_s)
    taken = await taken_by(state, work)
    return json_answer(_reserved(taken, state.ledger.currency), 201 if taken.code == "reserved" else 200)


async def settle(state: ServerState, request: Incoming) -> Answer:
    """POST /v1/settle: put what happened in the place of what is held.

    `id`, `usage` or `response` (the provider's answer, of which only the usage is read), and further fields of an
    event. The same again is `exists`.
    """
    told = await _told(state, request)
    id, response = _id(told), told.get("response")
    _mapping(told, "usage")
    fields = {name: value for name, value in told.items() if name not in ("id", "response")}
    event, settled = await state.writer.do(Settle(id, fields, response, request.caller))
    state.metrics.reservations[settled.code] += 1
    return json_answer(_settled(event, settled, state.ledger.currency))


async def release(state: ServerState, request: Incoming) -> Answer:
    """POST /v1/release: let go of what is held, for a call that was not made. `id`."""
    told = await _told(state, request)
    id = _id(told)

    def work() -> Settled:
        kept = state.ledger.store.reservation(id)
        if kept is None or kept.state is not ReservationState.RELEASED:
            state.reservations.find(id, request.caller)
        # What was released already says so again, to whoever retries: whose it was is not kept, and nothing changes.
        return state.ledger.store.release(id, state.clock.now())

    found = await state.writer.run(work)
    if found.code == "no_such_reservation":
        raise NotFound(f"no reservation {id[:60]!r} is in the ledger", code="no_such_reservation")
    state.metrics.reservations[found.code] += 1
    return json_answer({"id": id, "outcome": found.code})


async def check(state: ServerState, request: Incoming) -> Answer:
    """POST /v1/check: whether a call would fit now, and why not. Nothing is taken. The body is that of reserve."""
    told = await _told(state, request)
    fields = request.caller.attributed({name: value for name, value in told.items() if name not in _ASKED})
    body = _mapping(told, "body")
    decision = await asyncio.to_thread(partial(state.ledger.check, body=body, **fields))
    refusals: list[dict[str, Any]] = []
    if not decision.granted:
        first = exceeded(decision, state.ledger.currency)
        refusals = [{"code": one.code, "budget": one.budget, "detail": one.message} for one in (first, *first.others)]
    return json_answer({"fits": decision.granted, "action": decision.action.value, "refusals": refusals})


async def taken_by(state: ServerState, work: Reserve) -> Taken:
    """Take a reservation with those of others, or by itself where it must wait. Raises BudgetExceeded."""
    taken = await state.writer.do(work) or await _reserve_alone(state, work)
    state.metrics.reservations[taken.code] += 1
    return taken


async def _reserve_alone(state: ServerState, work: Reserve) -> Taken:
    """A reservation that waits, or takes a cheaper service: on a thread of its own, of which there are not many."""
    if state.waiters >= state.settings.waiting_max:
        raise Overloaded("as many calls as this server lets wait for budgets wait already; try again in a moment")
    state.waiters += 1
    try:
        taken = await asyncio.get_running_loop().run_in_executor(_pool(state), _take, state, work)
    finally:
        state.waiters -= 1
    state.reservations.remember(taken)
    return taken


def _take(state: ServerState, work: Reserve) -> Taken:
    ledger = state.ledger
    first: list[Ask] = []

    def make(service: str | None) -> Ask:
        fields, body = work.fields, work.body
        if service is not None:
            fields = {**fields, "service": service}
            body = {**body, "model": service} if body is not None and "model" in body else body
        ask = ledger.reserver.ask(fields, body, id=first[0].event.id if first else None)
        first.append(ask)
        return ask

    return ledger.reserver.take(work.make or make, work.wait_s, work.deadline_s)


def _pool(state: ServerState) -> ThreadPoolExecutor:
    if state.waiting_pool is None:
        state.waiting_pool = ThreadPoolExecutor(state.settings.waiting_max, "outlay-waiting")
    return state.waiting_pool


async def _told(state: ServerState, request: Incoming) -> dict[str, Any]:
    told = read_json(await body_of(state, request), state.settings.depth_max)
    if not isinstance(told, dict):
        raise InvalidInput("send a JSON object", code="bad_event")
    return told


def _id(told: Mapping[str, Any]) -> str:
    id = told.get("id")
    if not isinstance(id, str) or not id:
        raise InvalidInput("id names the reservation", code="missing_field", field="id")
    return id


def _mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = told.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise InvalidInput(f"{name} is an object", code="bad_event", field=name)
    return value


def _seconds(told: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    value = told.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidInput(f"{name} is a number of seconds from {least} to {most:g}", code="bad_wait", field=name)
    return float(value)


def _reserved(taken: Taken, currency: str) -> dict[str, Any]:
    ask = taken.ask
    amount = ask.asking.amount
    told: dict[str, Any] = {
        "id": ask.event.id,
        "outcome": taken.code,
        "service": ask.event.service,
        "amount": None if amount is None else amount_text(amount),
        "currency": currency,
    }
    if taken.downgraded_from is not None:
        told["downgraded_from"] = taken.downgraded_from
    if ask.found is not None:
        told["output_field"] = ask.found.output_field
        told["output_tokens_max"] = ask.found.output_tokens_max
    return told


def _settled(event: UsageEvent, settled: Settled, currency: str) -> dict[str, Any]:
    rating = None if settled.entry is None else settled.entry.rating
    return {
        "id": event.id,
        "outcome": settled.code,
        "cost": None if rating is None else amount_text(rating.amount),
        "currency": currency,
        "pricing_status": None if rating is None else rating.status.value,
        "overruns": [
            {
                "budget": one.key.budget,
                "subject": one.key.subject,
                "window": one.key.window,
                "held": amount_text(one.held),
                "billed": amount_text(one.billed),
            }
            for one in settled.overruns
        ],
    }
