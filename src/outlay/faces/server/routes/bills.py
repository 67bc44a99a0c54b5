"""Bills that were taken in, and what a reconciliation would say: nothing is written here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from outlay.analytics.reconcile import Difference
from outlay.clock import day_to_date, isoformat
from outlay.faces.server.models import Amount, Time
from outlay.faces.server.routes.answering import NAME_MAX, PROBLEMS, Reads, State, amount_text, in_thread, plain

router = APIRouter(tags=["bills"], responses=PROBLEMS)

Provider = Annotated[str | None, Query(max_length=NAME_MAX)]
Day = Annotated[str | None, Query(max_length=10)]


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


@router.get("/v1/statements", responses={200: {"model": list[StatementTold]}})
async def statements(caller: Reads, state: State) -> Response:
    """The bills that were taken in, in order. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.statements)
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


@router.get("/v1/reconciliation", responses={200: {"model": ReconciliationTold}})
async def reconciliation(
    caller: Reads, state: State, provider: Provider = None, since: Day = None, until: Day = None
) -> Response:
    """What a reconciliation would find: a dry run. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.reconcile(provider=provider, since=since, until=until, dry_run=True))
    amounts = {name: amount_text(getattr(found, name)) for name in ("billed", "unmetered", "not_billed")}
    return plain(
        {
            **{name: getattr(found, name) for name in ("day_from", "day_to", "currency")},
            **amounts,
            "services": [_difference(*one) for one in found.by_service()],
            "drifts": found.drifts,
        }
    )


@router.get("/v1/balances", responses={200: {"model": list[BalanceTold]}})
async def balances(caller: Reads, state: State) -> Response:
    """Prepaid balances that were noted. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.balances)
    return plain(
        [
            {
                "provider": one.provider,
                "left": amount_text(one.left.pico),
                "burn": amount_text(one.burn.pico),
                "runs_out": None if one.runs_out is None else one.runs_out.isoformat(),
                "known_at": isoformat(one.known_at),
                "source": one.source,
            }
            for one in found
        ]
    )


def _difference(provider: str, service: str, found: Difference) -> dict[str, Any]:
    return {
        "provider": provider,
        "service": service,
        "billed": amount_text(found.billed),
        "called": amount_text(found.called),
        "amount": amount_text(found.amount),
        "causes": {cause.value: amount_text(amount) for cause, amount in found.causes.items() if amount},
    }
