"""Costs with any grouping and filter, the dearest of anything, jobs and requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from msgspec.structs import replace

from outlay.answers import Costs, Job
from outlay.errors import NotFound
from outlay.faces.server.access import Caller
from outlay.faces.server.models import CostAnswer, JobAnswer, JobOutcomeSent, Outcome
from outlay.faces.server.routes.answering import (
    PAGE,
    PROBLEMS,
    WHERE,
    Cursor,
    Format,
    Limit,
    Reads,
    Records,
    Since,
    State,
    Unlogged,
    Until,
    amount_text,
    csv_of,
    cursor_of,
    exact,
    filter_of,
    in_thread,
    names,
    place_of,
    plain,
    share_of,
    wants_csv,
    wants_exact,
)
from outlay.faces.server.routes.receipts import receipt_json
from outlay.model import CostRow
from outlay.wire import EXACT, sent_job

router = APIRouter(tags=["costs"], responses=PROBLEMS)
TABLE: dict[int | str, dict[str, Any]] = {
    200: {"model": CostAnswer, "content": {"text/csv": {"schema": {"type": "string"}}, EXACT: {}}}
}
_COUNTS = ("events", "failed", "unpriced", "incomplete")

By = Annotated[list[str], Query(description="what to group by: day, provider, user, tag.<name>, …; or day,provider")]
Minimum = Annotated[str | None, Query(description="leaves out what cost less", max_length=40)]
Zone = Annotated[str | None, Query(description="the IANA zone of days, weeks and months", max_length=64)]
View = Annotated[
    str, Query(description="called: without what bills brought; reconciled: each cost once", max_length=20)
]
AsOf = Annotated[str | None, Query(description="as the ledger stood then", max_length=64)]


@router.get("/v1/costs", responses=TABLE, openapi_extra=WHERE)
async def costs(
    request: Request,
    caller: Reads,
    state: State,
    by: By = [],  # noqa: B006 - FastAPI copies it
    since: Since = None,
    until: Until = None,
    zone: Zone = None,
    as_of: AsOf = None,
    quantities: bool = False,
    percentiles: bool = False,
    view: View = "reconciled",
    limit: Limit = PAGE,
    cursor: Cursor = None,
    format: Format = None,
) -> Response:
    """What was spent, in groups: time groups first, then the dearest."""
    where, place = filter_of(request, caller), place_of(cursor)
    found = await in_thread(
        lambda: state.ledger.costs(
            names(by),
            where=where,
            since=since,
            until=until,
            zone=zone,
            as_of=as_of,
            quantities=quantities,
            percentiles=percentiles,
            view=view,
        )
    )
    return _table(request, found, place, limit, format)


@router.get("/v1/top", responses=TABLE, openapi_extra=WHERE)
async def top(
    request: Request,
    caller: Reads,
    state: State,
    by: Annotated[str, Query(max_length=128)] = "job",
    limit: Limit = 10,
    minimum: Minimum = None,
    since: Since = None,
    until: Until = None,
    format: Format = None,
) -> Response:
    """The dearest jobs, users, features, …"""
    where = filter_of(request, caller)
    found = await in_thread(
        lambda: state.ledger.top(by, limit=limit, minimum=minimum, where=where, since=since, until=until)
    )
    return _table(request, found, 0, limit, format)


@router.get("/v1/jobs/{job:path}", responses={200: {"model": JobAnswer, "content": {EXACT: {}}}})
async def job(request: Request, caller: Reads, state: State, job: str) -> Response:
    """All calls of a job: a video, a document, a ticket."""
    found = await in_thread(lambda: state.ledger.job(job))
    return _job(request, caller, found, "no_such_job")


@router.put("/v1/jobs/{job:path}", responses={200: {"model": Outcome}}, dependencies=[Unlogged])
async def finish(caller: Records, state: State, job: str, outcome: JobOutcomeSent) -> Response:
    """Say what a job produced: cost per unit divides all its calls by `units`. The last word counts."""
    named = caller.scope.get("job", job)
    if named != job:
        raise NotFound(f"no call is recorded for job {job!r}", code="no_such_job")
    if caller.scope:
        await in_thread(lambda: _seen(caller, state.ledger.job(job), "no_such_job"))
    await in_thread(lambda: state.ledger.finish(job, units=outcome.units, status=outcome.status, time=outcome.time))
    return plain({"outcome": "finished"})


@router.get("/v1/requests/{id:path}", responses={200: {"model": JobAnswer, "content": {EXACT: {}}}})
async def request_of_user(request: Request, caller: Reads, state: State, id: str) -> Response:
    """All calls of one request of a user's, over every service."""
    found = await in_thread(lambda: state.ledger.request(id))
    return _job(request, caller, found, "no_such_request")


def _job(request: Request, caller: Caller, found: Job, code: str) -> Response:
    seen = _seen(caller, found, code)
    if wants_exact(request):
        return exact(sent_job(seen))
    return plain(job_json(seen))


def _seen(caller: Caller, found: Job, code: str) -> Job:
    """The job as far as the caller sees it. Raises NotFound where that is nothing."""
    if not caller.scope:
        return found
    receipts = [receipt for receipt in found.receipts if caller.sees(receipt.event)]
    if not receipts:
        raise NotFound(f"no call is recorded for {found.name!r}", code=code)
    whole = len(receipts) == len(found.receipts)
    return Job(found.name, receipts, found.currency, found.outcome if whole else None)


def job_json(found: Job) -> dict[str, Any]:
    """A job for everyone."""
    unit = found.cost_per_unit
    return {
        "name": found.name,
        "total": amount_text(found.total.pico),
        "currency": found.currency,
        "events": found.events,
        "failed": found.failed,
        "units": found.outcome.units if found.outcome else None,
        "status": found.outcome.status if found.outcome else None,
        "cost_per_unit": amount_text(unit.pico) if unit else None,
        "by_service": [
            {"provider": provider, "service": service, "cost": amount_text(cost.pico)}
            for (provider, service), cost in found.by_service.items()
        ],
        "receipts": [receipt_json(receipt) for receipt in found.receipts],
    }


def _table(request: Request, found: Costs, place: int, limit: int, format: str | None) -> Response:
    if wants_exact(request):
        return exact(found.table)
    rows = found.rows[place : place + limit]
    if wants_csv(request, format):
        dicts = Costs(replace(found.table, rows=rows)).as_dicts()
        columns = [*found.by, "cost", "currency", *_COUNTS]
        columns += [name for name in ("cost_p50", "cost_p95", "cost_max") if any(name in row for row in dicts)]
        return csv_of(columns, ({**row, "currency": found.currency} for row in dicts))
    more = place + limit < len(found.rows)
    return plain(
        {
            "by": found.by,
            "rows": [_group(row, found.by) for row in rows],
            "total": _group(found.table.total, ()),
            "currency": found.currency,
            "zone": found.zone,
            "answered_by": found.answered_by,
            "spooled": found.spooled,
            "next": cursor_of(place + limit) if more else None,
        }
    )


def _group(row: CostRow, by: Sequence[str]) -> dict[str, Any]:
    """One group for everyone: its keys, then its figures, of those that were asked for."""
    told: dict[str, Any] = {
        "keys": dict(zip(by, row.keys, strict=True)) if by else {},
        "cost": amount_text(row.amount),
        "events": row.events,
        "failed": row.failed,
        "unpriced": row.unpriced,
        "incomplete": row.incomplete,
    }
    if row.events:
        told["average"] = amount_text(share_of(row.amount, row.events))
    for name, amount in (("cost_p50", row.amount_p50), ("cost_p95", row.amount_p95), ("cost_max", row.amount_max)):
        if amount is not None:
            told[name] = amount_text(amount)
    if row.quantities is not None:
        told["quantities"] = {
            # Of an int the format "f" would make a float, and round what is beyond 2^53.
            meter: str(quantity) if isinstance(quantity, int) else format(quantity, "f")
            for meter, quantity in row.quantities.items()
        }
    if row.basis is not None:
        told["basis"] = {basis: amount_text(amount) for basis, amount in row.basis.items()}
    return told
