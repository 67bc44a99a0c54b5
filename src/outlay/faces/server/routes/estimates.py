"""What a stack will cost a month, what a job will cost before it is made, and what it did cost."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from outlay.analytics.estimate import EstimateComparison, JobEstimate
from outlay.analytics.stack import Difference, StackEstimate, StackRow
from outlay.clock import isoformat
from outlay.faces.server.models import Amount, Sent, Time
from outlay.faces.server.routes.advice import PricesSent, RangeTold, price_text, range_told, stack_of_json
from outlay.faces.server.routes.answering import (
    NAME_MAX,
    PROBLEMS,
    Anybody,
    Reads,
    Records,
    State,
    Unlogged,
    amount_text,
    exact,
    in_thread,
    plain,
    wants_exact,
)
from outlay.wire import EXACT

router = APIRouter(tags=["estimates"], responses=PROBLEMS)

JobName = Annotated[str, Path(description="the job's name", max_length=NAME_MAX)]
Margin = Annotated[str | int, Field(description="a margin in percent, its own line")]


class JobSent(Sent):
    """The steps of a job: each has the fields of an event, `count` for calls alike."""

    steps: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1_000)]
    margin_percent: Margin = "0"
    prices: PricesSent | None = None


class StackSent(Sent):
    """A stack as its file says (docs/estimate.md), as JSON; `scenario` beside its tables."""

    stack: dict[str, Any]
    prices: PricesSent | None = None


class StepTold(RangeTold):
    """One step."""

    step: str
    provider: str
    service: str
    without_price: list[str]


class JobTold(BaseModel):
    """What a job will cost: `total` with the margin, low to high."""

    steps: list[StepTold]
    net: RangeTold
    margin: RangeTold
    total: RangeTold
    currency: str


class RowTold(RangeTold):
    """A resource, or a work's units, a month; `reason` where it costs nothing."""

    row: str
    reason: str


class StackTold(BaseModel):
    """What a stack costs a month and a year, margin included."""

    name: str
    rows: list[RowTold]
    net: RangeTold
    margin: RangeTold
    month: RangeTold
    year: RangeTold
    scenarios: dict[str, RangeTold]
    currency: str


class PartTold(BaseModel):
    """One service of a job: what it was estimated at, and what it cost."""

    provider: str
    service: str
    estimated: RangeTold
    actual: Amount


class ComparedTold(BaseModel):
    """A job's estimate beside what it cost so far."""

    job: str
    made_at: Time
    parts: list[PartTold]
    estimated: RangeTold
    actual: Amount
    currency: str


JOB: dict[int | str, dict[str, Any]] = {200: {"model": JobTold, "content": {EXACT: {}}}}


@router.post("/v1/estimates/job", responses=JOB, dependencies=[Unlogged])
async def job(request: Request, caller: Anybody, state: State, sent: JobSent) -> Response:
    """What a job will cost before it is made. Nothing is kept."""
    found = await in_thread(
        lambda: state.ledger.estimate_job(
            sent.steps, margin_percent=sent.margin_percent, prices=price_text(sent.prices)
        )
    )
    return _told(request, found)


@router.put("/v1/estimates/{name:path}", responses=JOB, dependencies=[Unlogged])
async def keep(request: Request, caller: Records, state: State, name: JobName, sent: JobSent) -> Response:
    """The same, kept under the job's name, so that it is compared with what the job costs. The last word counts. For
    callers who see the whole ledger.
    """
    caller.must_see_all()
    found = await in_thread(
        lambda: state.ledger.estimate_job(
            sent.steps, margin_percent=sent.margin_percent, job=name, prices=price_text(sent.prices)
        )
    )
    return _told(request, found)


@router.get("/v1/estimates/{name:path}", responses={200: {"model": ComparedTold, "content": {EXACT: {}}}})
async def compared(request: Request, caller: Reads, state: State, name: JobName) -> Response:
    """A job's kept estimate beside what it cost so far. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.estimate_against(name))
    return exact(found) if wants_exact(request) else plain(_compared(found))


@router.post("/v1/estimates/stack", responses={200: {"model": StackTold}}, dependencies=[Unlogged])
async def stack(caller: Reads, state: State, sent: StackSent) -> Response:
    """What a stack will cost a month and a year by the prices in force, and what each scenario would change. Numbers
    are JSON numbers or, exactly, text.
    """

    def work() -> tuple[StackEstimate, list[Difference]]:
        return state.ledger.estimate_scenarios(stack_of_json(sent.stack), prices=price_text(sent.prices))

    base, scenarios = await in_thread(work)
    return plain(
        {
            "name": base.name,
            "rows": [_row(row) for row in base.rows],
            **{name: range_told(getattr(base, name)) for name in ("net", "margin", "month", "year")},
            "scenarios": {one.name: range_told(one.estimate.month) for one in scenarios},
            "currency": base.currency,
        }
    )


def _told(request: Request, found: JobEstimate) -> Response:
    if wants_exact(request):
        return exact(found)
    steps = [
        {
            "step": one.name,
            "provider": one.event.provider,
            "service": one.event.service,
            **range_told(one.amounts),
            "without_price": [unrated.meter for unrated in one.unrated],
        }
        for one in found.steps
    ]
    totals = {"net": found.net, "margin": found.margin, "total": found.amounts}
    told = {name: range_told(amounts) for name, amounts in totals.items()}
    return plain({"steps": steps, **told, "currency": found.currency})


def _row(row: StackRow) -> dict[str, Any]:
    return {"row": row.name, "reason": row.reason, **range_told(row.month)}


def _compared(found: EstimateComparison) -> dict[str, Any]:
    parts = [
        {
            "provider": part.provider,
            "service": part.service,
            "estimated": range_told(part.estimated),
            "actual": amount_text(part.actual),
        }
        for part in found.parts
    ]
    return {
        "job": found.job,
        "made_at": isoformat(found.made_at),
        "parts": parts,
        "estimated": range_told(found.estimated),
        "actual": amount_text(found.actual.pico),
        "currency": found.currency,
    }
