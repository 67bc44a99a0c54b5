"""Budgets as resources: listed, set, raised, removed; how they stand, who changed them, what they refused."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from msgspec.structs import replace

from outlay.budgeting import SUBJECTS_SHOWN
from outlay.budgets.coverage import unpacked
from outlay.budgets.definition import DIMENSIONS, mark_said
from outlay.budgets.status import usage_block
from outlay.budgets.terms import Budget, BudgetChange, BudgetStatus
from outlay.clock import Instant, isoformat
from outlay.errors import InvalidInput, NotFound
from outlay.faces.server.access import Caller, Role
from outlay.faces.server.models import (
    BudgetAnswer,
    BudgetSent,
    History,
    Outcome,
    RaiseSent,
    Refusals,
    Standings,
    SubjectAnswer,
    TierSent,
)
from outlay.faces.server.routes.answering import (
    NAME_MAX,
    PROBLEMS,
    WHERE,
    Anybody,
    Reads,
    Rules,
    State,
    amount_text,
    count_of,
    exact,
    filter_of,
    in_thread,
    plain,
    wants_exact,
)
from outlay.faces.server.state import ServerState
from outlay.ledger.budget_store import NotedRefusal
from outlay.wire import EXACT, SentRefusals

router = APIRouter(tags=["budgets"], responses=PROBLEMS)
PROGRAM = "program"
ONE: dict[int | str, dict[str, Any]] = {200: {"model": BudgetAnswer, "content": {EXACT: {}}}}
STANDINGS: dict[int | str, dict[str, Any]] = {200: {"model": Standings, "content": {EXACT: {}}}}

Subject = Annotated[str | None, Query(description="one user (customer, …) of an `each` budget", max_length=NAME_MAX)]
Fullest = Annotated[int, Query(description="so many accounts of an `each` budget, the fullest", ge=1, le=10_000)]
Reason = Annotated[str, Query(description="why; kept in its history", min_length=1, max_length=NAME_MAX)]
Who = Annotated[str, Query(description="whom the history names, beside the key", max_length=NAME_MAX)]


@router.get("/v1/budgets", responses=STANDINGS)
async def budgets(
    request: Request, caller: Reads, state: State, subject: Subject = None, fullest: Fullest = SUBJECTS_SHOWN
) -> Response:
    """How all budgets stand now, one row an account. A caller with a scope sees those of that scope."""
    found = await in_thread(lambda: _standings(state, caller, None, subject, fullest))
    return _stand(request, state, found)


@router.get("/v1/budgets/{name}", responses=ONE)
async def budget(request: Request, caller: Reads, state: State, name: str) -> Response:
    """A budget as it is in force, with its raises and history."""
    found = await in_thread(lambda: _known(state, caller, name, removed=False))
    return _answer(request, state, found)


@router.put("/v1/budgets/{name}", responses=ONE)
async def put_budget(request: Request, caller: Rules, state: State, name: str, sent: BudgetSent) -> Response:
    """Set a budget. What was there is changed, with history; what was spent before is counted before this answers."""
    who = changer(caller, sent.who)
    found = await in_thread(lambda: state.ledger.budget(name, why=sent.why, who=who, **sent.fields))
    return _answer(request, state, found)


@router.delete("/v1/budgets/{name}", responses={200: {"model": Outcome}})
async def remove_budget(caller: Rules, state: State, name: str, why: Reason, who: Who = "") -> Response:
    """Take a budget out of force; its history stays."""
    await in_thread(lambda: state.ledger.remove_budget(name, why=why, who=changer(caller, who)))
    return plain({"outcome": "removed"})


@router.post("/v1/budgets/{name}/raises", responses=ONE)
async def raise_budget(request: Request, caller: Rules, state: State, name: str, sent: RaiseSent) -> Response:
    """Add to a budget's limit until a time, for one subject or all. Sent twice it adds twice."""
    found = await in_thread(
        lambda: state.ledger.raise_budget(
            name,
            sent.amount,
            until=sent.until,
            reason=sent.reason,
            window=sent.window,  # type: ignore[arg-type]  # a window that the budget has not is refused by name
            subject=sent.subject,
            who=changer(caller, sent.who),
        )
    )
    return _answer(request, state, found)


@router.get("/v1/budgets/{name}/status", responses=STANDINGS)
async def budget_status(
    request: Request,
    caller: Reads,
    state: State,
    name: str,
    subject: Subject = None,
    fullest: Fullest = SUBJECTS_SHOWN,
) -> Response:
    """How a budget stands now: the fullest of its accounts in this window, or the subject's."""
    found = await in_thread(lambda: _standings(state, caller, name, subject, fullest))
    return _stand(request, state, found)


@router.get("/v1/budgets/{name}/history", responses={200: {"model": History, "content": {EXACT: {}}}})
async def budget_history(request: Request, caller: Reads, state: State, name: str) -> Response:
    """Who changed a budget, when, what and why; also of one that was removed."""
    found = (await in_thread(lambda: _known(state, caller, name, removed=True))).history
    return exact(found) if wants_exact(request) else plain({"changes": list(map(_change, found))})


@router.get("/v1/budgets/{name}/refusals", responses={200: {"model": Refusals, "content": {EXACT: {}}}})
async def budget_refusals(request: Request, caller: Reads, state: State, name: str) -> Response:
    """How many calls a budget ever refused, and the last of them, newest first."""

    def look() -> tuple[int, list[NotedRefusal]]:
        caller.must_see_all()
        if not wants_exact(request):
            _known(state, caller, name, removed=True)
        return state.ledger.refusals(name)

    count, found = await in_thread(look)
    if wants_exact(request):
        return exact(SentRefusals(count=count, refusals=tuple(found)))
    return plain({"count": count, "refusals": [_refusal(one, state.ledger.currency) for one in found]})


@router.get("/v1/budgets-in-force", include_in_schema=False)
async def budgets_in_force(caller: Anybody, state: State, whole: bool = False) -> Response:
    """The budgets that may cover the caller's calls, for Outlay's own client: which refuse, which fail open."""

    def look() -> list[Budget]:
        if whole:
            caller.must(Role.READ)
            caller.must_see_all()
            return state.ledger.defined_budgets()
        every = state.ledger.reserver.refresh().budgets.values()
        return [replace(one, raises=(), history=()) for one in every if _may_cover(one, caller)]

    return exact(await in_thread(look))


@router.get("/v1/uncovered-budgets", responses={200: {"model": list[str]}})
async def uncovered_budgets(caller: Reads, state: State) -> Response:
    """Refusing budgets of each user (customer, …) over which no total stands."""
    caller.must_see_all()
    return plain(await in_thread(state.ledger.uncovered_budgets))


@router.get("/v1/usage", responses={200: {"model": dict[str, str | int]}}, openapi_extra=WHERE)
async def usage(
    request: Request,
    caller: Reads,
    state: State,
    meter: Annotated[str | None, Query(description="budgets that count this, such as calls", max_length=64)] = None,
) -> Response:
    """{daily_used, daily_limit, monthly_used, …, warning} of the budgets that cover a call so attributed.

    A caller with a scope is told of the budgets that count nothing else.
    """
    told = {name: values[0] for name, values in filter_of(request, caller).items() if values[0] is not None}
    unknown = sorted(name for name in told if name not in DIMENSIONS)
    if unknown:
        raise InvalidInput(f"{unknown[0]} covers no budget; use {', '.join(DIMENSIONS)}", code="unknown_dimension")
    if not caller.scope:
        return plain(await in_thread(lambda: state.ledger.usage_block(meter=meter, **told)))
    found = await in_thread(lambda: _standings(state, caller, None, None))
    return plain(usage_block(one for one in found if meter is None or one.meter == meter))


@router.get("/v1/subjects/{kind}/{name:path}", responses={200: {"model": SubjectAnswer}}, tags=["subjects"])
async def subject(caller: Reads, state: State, kind: str, name: str) -> Response:
    """A user's (customer's, …) tier."""
    if caller.scope and caller.scope.get(kind) != name:
        raise NotFound(f"no {kind} {name!r} is in the ledger", code="no_such_subject")
    tier = await in_thread(lambda: state.ledger.store.tier(kind, name))
    return plain({"kind": kind, "name": name, "tier": tier})


@router.put("/v1/subjects/{kind}/{name:path}", responses={200: {"model": SubjectAnswer}}, tags=["subjects"])
async def put_subject(caller: Rules, state: State, kind: str, name: str, sent: TierSent) -> Response:
    """Say a subject's tier; it moves the limit, not what was spent."""
    await in_thread(lambda: state.ledger.subject(kind, name, tier=sent.tier))
    return plain({"kind": kind, "name": name, "tier": sent.tier})


def changer(caller: Caller, who: str) -> str:
    """Who changes a budget, for its history: the key, and the person that its program names."""
    if caller.key == "local":
        return who or PROGRAM
    return f"{who} by {caller.key}" if who and who != PROGRAM else caller.key


def _standings(
    state: ServerState, caller: Caller, name: str | None, subject: str | None, fullest: int = SUBJECTS_SHOWN
) -> list[BudgetStatus]:
    if not caller.scope:
        return state.ledger.budgets(name, subject=subject, fullest=fullest)
    if name is not None:
        chosen = [_known(state, caller, name, removed=False)]
    else:
        index = state.ledger.reserver.refresh()
        chosen = [one for one in index.budgets.values() if covers_only(one, caller)]
    return [
        found for one in chosen for found in state.ledger.budgets(one.name, subject=_subject_of(one, caller, subject))
    ]


def _subject_of(budget: Budget, caller: Caller, subject: str | None) -> str | None:
    """Whose account a caller with a scope is shown."""
    own = caller.scope.get(budget.each) if budget.each is not None else None
    if own is None:
        return subject
    if subject is not None and subject != own:
        raise NotFound(f"no budget {budget.name!r} of {subject!r} is in the ledger", code="no_such_budget")
    return own


def covers_only(budget: Budget, caller: Caller) -> bool:
    """Whether all that a budget counts lies in the caller's scope, so that its figures tell nothing of others."""
    return all(budget.where.get(name) == (value,) or budget.each == name for name, value in caller.scope.items())


def _may_cover(budget: Budget, caller: Caller) -> bool:
    return all(value in budget.where.get(name, (value,)) for name, value in caller.scope.items())


def _known(state: ServerState, caller: Caller, name: str, *, removed: bool) -> Budget:
    """A budget that the caller may see. Raises NotFound `no_such_budget`."""
    for kept in state.ledger.store.budgets():
        if kept.name == name and (kept.active or removed):
            found = unpacked(kept.body)
            if covers_only(found, caller):
                return found
    raise NotFound(f"no budget {name!r} is in the ledger", code="no_such_budget")


def _answer(request: Request, state: ServerState, found: Budget) -> Response:
    return exact(found) if wants_exact(request) else plain(budget_json(found, state.ledger.currency))


def _stand(request: Request, state: ServerState, found: list[BudgetStatus]) -> Response:
    if wants_exact(request):
        return exact(found)
    return plain({"budgets": [standing_json(one, state.ledger.currency) for one in found]})


def said(amount: int, meter: str | None) -> str:
    """An amount of a limit as text: money or a count."""
    return amount_text(amount) if meter is None else count_of(amount)


def budget_json(found: Budget, currency: str) -> dict[str, Any]:
    """A budget for everyone."""
    return {
        "name": found.name,
        "where": found.where,
        "each": found.each,
        "zone": found.zone,
        "unit": found.meter or currency,
        "action": found.action.value,
        "tiers": [
            {"name": tier.name, "limits": {limit.window: said(limit.amount, found.meter) for limit in tier.limits}}
            for tier in found.tiers
        ],
        "marks": [mark_said(mark) for mark in found.marks],
        "unbounded": found.unbounded.value,
        "unpriced": found.unpriced.value,
        "fail_open": found.fail_open,
        "wait_s": format(found.wait_s, "f"),
        "grace_percent": str(found.grace_percent),
        "downgrade_to": [choice.service for choice in found.downgrade_to],
        "raises": [
            {
                "window": one.window,
                "amount": said(one.amount, found.meter),
                "since": isoformat(one.since),
                "until": isoformat(one.until),
                "reason": one.reason,
                "subject": one.subject,
            }
            for one in found.raises
        ],
        "history": list(map(_change, found.history)),
    }


def standing_json(one: BudgetStatus, currency: str) -> dict[str, Any]:
    """How an account stands, for everyone."""
    amounts = {
        name: said(getattr(one, name), one.meter) for name in ("limit", "spent", "reserved", "remaining", "projected")
    }
    return {
        "budget": one.key.budget,
        "subject": one.key.subject,
        "tier": one.tier,
        "window": one.key.window,
        "window_from": isoformat(one.window.start),
        "window_to": isoformat(one.window.end),
        "unit": one.meter or currency,
        "action": one.action.value,
        **amounts,
        "percent": None if one.percent is None else format(one.percent, "f"),
        "pace": None if one.pace is None else format(one.pace, "f"),
        "spent_at": _time(one.spent_at),
        "marks": [mark_said(mark) for mark in one.marks],
        "warning": one.warning,
        "warming": one.warming,
        "refusals": one.refusals,
    }


def _change(one: BudgetChange) -> dict[str, str]:
    return {"at": isoformat(one.at), "who": one.who, "what": one.what, "why": one.why}


def _refusal(one: NotedRefusal, currency: str) -> dict[str, Any]:
    refused, limit = one.refusal, one.refusal.limit
    return {
        "at": isoformat(one.at),
        "provider": one.provider,
        "service": one.service,
        "code": refused.code,
        "subject": limit.key.subject,
        "window": limit.key.window,
        "unit": limit.meter or currency,
        "limit": said(limit.ceiling, limit.meter),
        "spent": said(refused.spent, limit.meter),
        "reserved": said(refused.reserved, limit.meter),
        "asked": said(limit.asked, limit.meter),
        "opens_at": _time(refused.opens_at),
    }


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else isoformat(instant)
