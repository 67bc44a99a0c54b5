"""Bills that were taken in, their reconciliation with what was called, shared cost, and prepaid balances."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from outlay.analytics.reconcile import Difference
from outlay.bills.comparing import Reconciliation
from outlay.clock import day_to_date, isoformat
from outlay.errors import InvalidInput
from outlay.faces.server.models import Amount, Sent, Time
from outlay.faces.server.routes.answering import (
    NAME_MAX,
    PAGE,
    PROBLEMS,
    WHERE,
    Cursor,
    Limit,
    Reads,
    Rules,
    Since,
    State,
    Until,
    amount_text,
    cursor_of,
    exact,
    filter_of,
    in_thread,
    place_of,
    plain,
    wants_exact,
)
from outlay.reconciling import BURN_DAYS, DRIFT_MAX, Balance
from outlay.wire import EXACT, encoded

router = APIRouter(tags=["bills"], responses=PROBLEMS)

Provider = Annotated[str | None, Query(max_length=NAME_MAX)]
ProviderName = Annotated[str, Path(description="whose balance", max_length=NAME_MAX)]
StatementId = Annotated[str, Path(description="the bill's id", max_length=NAME_MAX)]
Statement = Annotated[str | None, Query(description="a bill's id or source", max_length=NAME_MAX)]
Drift = Annotated[str, Query(description="beyond which share a difference is told", max_length=40)]
Day = Annotated[str | None, Query(max_length=10)]


class ReconcileSent(Sent):
    """Which bills and days; without any, all."""

    statement: Annotated[str | None, Field(max_length=NAME_MAX)] = None
    provider: Annotated[str | None, Field(max_length=NAME_MAX)] = None
    since: Annotated[str | None, Field(max_length=10)] = None
    until: Annotated[str | None, Field(max_length=10)] = None
    drift: Annotated[str, Field(max_length=40)] = DRIFT_MAX


class BalanceSent(Sent):
    """A prepaid balance as it is now, or was `at`."""

    provider: Annotated[str, Field(min_length=1, max_length=200)]
    amount: Annotated[str, Field(max_length=60, examples=["50.00"])]
    at: Annotated[str | None, Field(max_length=64)] = None
    source: Annotated[str, Field(max_length=200)] = "entered"


class StatementTold(BaseModel):
    """A bill as it was taken in: what it covers, and its sums by currency as they were written."""

    id: str
    source: str
    format: str
    providers: list[str]
    accounts: list[str]
    day_from: str
    day_to: str
    rows: int
    totals: dict[str, str]
    recorded_at: Time


class DifferenceTold(BaseModel):
    """One service: billed less called, and why; the causes sum to it."""

    provider: str
    service: str
    billed: Amount
    called: Amount
    amount: Amount
    causes: dict[str, Amount]


class ReconciliationTold(BaseModel):
    """What the bills in force say against what was called."""

    day_from: str
    day_to: str
    currency: str
    billed: Amount
    unmetered: Amount
    not_billed: Amount
    services: list[DifferenceTold]
    drifts: list[dict[str, Any]]


class BalanceTold(BaseModel):
    """A prepaid balance: what is left, what a day costs, and when it runs out."""

    provider: str
    left: Amount
    burn: Amount
    runs_out: str | None
    known_at: Time
    source: str


class RowsTold(BaseModel):
    """Some rows, column to text; `next` is the cursor of the next ones."""

    rows: list[dict[str, str]]
    next: str | None


class ShareTold(BaseModel):
    """What one bears: its own cost, and what it is given of the shared one."""

    name: str
    own: Amount
    given: Amount
    total: Amount


class AllocationTold(BaseModel):
    """Shared cost given out: `shared` is the sum of what is given."""

    to: str
    rule: str
    shared: Amount
    shares: list[ShareTold]
    total: Amount
    currency: str


RECONCILED: dict[int | str, dict[str, Any]] = {200: {"model": ReconciliationTold, "content": {EXACT: {}}}}
BALANCE: dict[int | str, dict[str, Any]] = {200: {"model": BalanceTold, "content": {EXACT: {}}}}


@router.get("/v1/statements", responses={200: {"model": list[StatementTold], "content": {EXACT: {}}}})
async def statements(request: Request, caller: Reads, state: State) -> Response:
    """The bills that were taken in, in order. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.statements)
    if wants_exact(request):
        return exact(found)
    same = ("id", "source", "format", "providers", "accounts", "rows", "totals")
    return plain(
        [
            {
                **{name: getattr(one, name) for name in same},
                "day_from": day_to_date(one.day_from).isoformat(),
                "day_to": day_to_date(one.day_to).isoformat(),
                "recorded_at": isoformat(one.recorded_at),
            }
            for one in found
        ]
    )


@router.get("/v1/statements/{id}/rows", responses={200: {"model": RowsTold}})
async def statement_rows(
    caller: Reads, state: State, id: StatementId, limit: Limit = PAGE, cursor: Cursor = None
) -> Response:
    """Every row of an exported bill as it was received, but for columns that may name a person. For callers who see
    the whole ledger.
    """
    caller.must_see_all()
    place = place_of(cursor)
    found = await in_thread(lambda: list(islice(state.ledger.statement_rows(id), place, place + limit + 1)))
    following = cursor_of(place + limit) if len(found) > limit else None
    return plain({"rows": found[:limit], "next": following})


@router.get("/v1/reconciliation", responses=RECONCILED)
async def reconciliation(
    request: Request,
    caller: Reads,
    state: State,
    statement: Statement = None,
    provider: Provider = None,
    since: Day = None,
    until: Day = None,
    drift: Drift = DRIFT_MAX,
) -> Response:
    """What a reconciliation would find: a dry run. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(
        lambda: state.ledger.reconcile(
            statement, provider=provider, since=since, until=until, drift=drift, dry_run=True
        )
    )
    return _reconciled(request, found)


@router.post("/v1/reconciliation", responses=RECONCILED)
async def reconcile(request: Request, caller: Rules, state: State, sent: ReconcileSent) -> Response:
    """Make the ledger say what the bills in force say. Doing it again changes nothing but what changed since."""
    told = sent.model_dump()
    found = await in_thread(lambda: state.ledger.reconcile(told.pop("statement"), **told))
    return _reconciled(request, found)


@router.get("/v1/allocation", responses={200: {"model": AllocationTold}}, openapi_extra=WHERE)
async def allocation(
    request: Request,
    caller: Reads,
    state: State,
    to: Annotated[str, Query(description="customer, job, team, tag.<name>, …", max_length=NAME_MAX)] = "feature",
    rule: Annotated[str, Query(description="even, usage or weight", max_length=16)] = "usage",
    by: Annotated[str | None, Query(description="usage of: cost, calls, or a meter", max_length=NAME_MAX)] = None,
    weight: Annotated[list[str], Query(description="NAME=NUMBER, for the rule weight", max_length=1_000)] = [],  # noqa: B006 - FastAPI copies it
    since: Since = None,
    until: Until = None,
) -> Response:
    """The cost that bears no `to`, given to those that do; it sums to the last digit and nothing is written. For
    callers who see the whole ledger.
    """
    caller.must_see_all()
    where = filter_of(request, caller)
    weights = dict(_weight(one) for one in weight) or None
    found = await in_thread(
        lambda: state.ledger.allocate(to, rule=rule, by=by, weights=weights, where=where, since=since, until=until)
    )
    amounts = ("own", "given", "total")
    shares = [
        {"name": one.name, **{name: amount_text(getattr(one, name)) for name in amounts}} for one in found.shares
    ]
    return plain(
        {
            "to": found.to,
            "rule": found.rule,
            "shared": amount_text(found.shared),
            "shares": shares,
            "total": amount_text(found.total),
            "currency": found.currency,
        }
    )


@router.get("/v1/balances", responses={200: {"model": list[BalanceTold], "content": {EXACT: {}}}})
async def balances(request: Request, caller: Reads, state: State) -> Response:
    """Prepaid balances that were noted. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.balances)
    return exact(found) if wants_exact(request) else plain(list(map(_balance, found)))


@router.get("/v1/balances/{provider}", responses=BALANCE)
async def balance(
    request: Request,
    caller: Reads,
    state: State,
    provider: ProviderName,
    days: Annotated[int, Query(description="over how many days the burn is the mean", ge=1, le=3_660)] = BURN_DAYS,
) -> Response:
    """What is left of a prepaid balance, and the day it runs out. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.balance(provider, days=days))
    return exact(found) if wants_exact(request) else plain(_balance(found))


@router.post("/v1/balances", responses=BALANCE)
async def note_balance(request: Request, caller: Rules, state: State, sent: BalanceSent) -> Response:
    """Say what a prepaid balance is, now or at a time: a top-up is the balance after it."""
    found = await in_thread(
        lambda: state.ledger.note_balance(sent.provider, sent.amount, at=sent.at, source=sent.source)
    )
    return exact(found) if wants_exact(request) else plain(_balance(found))


def _reconciled(request: Request, found: Reconciliation) -> Response:
    if wants_exact(request):
        return Response(encoded(found), media_type=EXACT)
    amounts = {name: amount_text(getattr(found, name)) for name in ("billed", "unmetered", "not_billed")}
    return plain(
        {
            **{name: getattr(found, name) for name in ("day_from", "day_to", "currency")},
            **amounts,
            "services": [_difference(*one) for one in found.by_service()],
            "drifts": found.drifts,
        }
    )


def _weight(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InvalidInput(f"weight {text[:60]!r} is not NAME=NUMBER", code="bad_option", field="weight")
    return name.strip(), value.strip()


def _balance(one: Balance) -> dict[str, Any]:
    return {
        "provider": one.provider,
        "left": amount_text(one.left.pico),
        "burn": amount_text(one.burn.pico),
        "runs_out": None if one.runs_out is None else one.runs_out.isoformat(),
        "known_at": isoformat(one.known_at),
        "source": one.source,
    }


def _difference(provider: str, service: str, found: Difference) -> dict[str, Any]:
    return {
        "provider": provider,
        "service": service,
        "billed": amount_text(found.billed),
        "called": amount_text(found.called),
        "amount": amount_text(found.amount),
        "causes": {cause.value: amount_text(amount) for cause, amount in found.causes.items() if amount},
    }
