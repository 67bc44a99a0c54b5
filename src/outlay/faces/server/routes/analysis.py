"""What spend will be, what it should not have been, and what a change is made of."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from outlay.analytics.anomaly import Episode
from outlay.analytics.comparison import Change, ComparedRow, Side
from outlay.analytics.projection import Projection
from outlay.clock import isoformat
from outlay.errors import InvalidInput
from outlay.faces.server.models import Amount, Name, Sent, Time
from outlay.faces.server.routes.answering import (
    PROBLEMS,
    WHERE,
    Reads,
    Rules,
    Since,
    State,
    Until,
    amount_text,
    exact,
    filter_of,
    in_thread,
    names,
    plain,
    wants_exact,
)
from outlay.faces.server.routes.budgets import changer
from outlay.money import round_half_even
from outlay.wire import EXACT

router = APIRouter(tags=["analysis"], responses=PROBLEMS)

By = Annotated[list[str], Query(description="what to group by; or feature,service")]
Zone = Annotated[str | None, Query(description="the IANA zone whose days are meant", max_length=64)]
Text = Annotated[str, Query(max_length=64)]
EpisodeId = Annotated[str, Path(description="the anomaly's id", max_length=64)]


class SpanTold(BaseModel):
    """Where the whole will lie, `level` percent of the time."""

    level: int
    low: Amount
    high: Amount


class StepTold(BaseModel):
    """What is expected of one hour or day."""

    at: Time
    amount: Amount


class ProjectionTold(BaseModel):
    """What a window will have cost at its end."""

    keys: dict[str, str | None]
    label: str
    since: Time
    until: Time
    spent: Amount
    total: Amount
    intervals: list[SpanTold]
    steps: list[StepTold]
    learned: str


class ForecastTold(BaseModel):
    """Each group's projection, the dearest first, and that of all together."""

    by: list[str]
    rows: list[ProjectionTold]
    total: ProjectionTold
    currency: str
    zone: str


class CauseTold(BaseModel):
    """How much one value of a dimension cost during an episode, and usually."""

    dimension: str
    value: str
    actual: Amount
    expected: Amount


class EpisodeTold(BaseModel):
    """One stretch of unusual spend."""

    id: str
    by: dict[str, str | None]
    step: str
    since: Time
    until: Time
    goes_on: bool
    actual: Amount
    expected: Amount
    impact: Amount
    percent: str | None
    peak: Amount
    causes: list[CauseTold]
    verdict: str | None


class VerdictSent(Sent):
    """What a person says of an episode: `expected` or `not_an_anomaly`, and why."""

    verdict: Annotated[str, Field(max_length=32)]
    why: Name
    who: Annotated[str, Field(max_length=512)] = ""
    zone: Annotated[str | None, Field(max_length=64)] = None


class VerdictTold(BaseModel):
    """A verdict as it is kept."""

    episode: str
    verdict: str
    who: str
    why: str
    at: Time


class SideTold(BaseModel):
    """One side of a comparison."""

    cost: Amount
    calls: int
    failed: int


class ChangeTold(BaseModel):
    """By how much it changed and what that is made of: the four parts add up to `amount`."""

    before: Amount
    after: Amount
    amount: Amount
    percent: str | None
    volume: Amount
    mix: Amount
    price: Amount
    failures: Amount


class ComparedTold(BaseModel):
    """One group on both sides."""

    keys: dict[str, str | None]
    before: SideTold
    after: SideTold
    change: ChangeTold


class ComparisonTold(BaseModel):
    """Both sides by group, the greatest change first; `by_day` says that changes are by the day."""

    by: list[str]
    rows: list[ComparedTold]
    total: ComparedTold
    by_day: bool
    currency: str


@router.get("/v1/forecast", responses={200: {"model": ForecastTold, "content": {EXACT: {}}}}, openapi_extra=WHERE)
async def forecast(
    request: Request,
    caller: Reads,
    state: State,
    window: Literal["day", "week", "month", "quarter", "year"] = "month",
    by: By = [],  # noqa: B006 - FastAPI copies it
    zone: Zone = None,
    limit: Annotated[int, Query(ge=0, le=1_000)] = 20,
) -> Response:
    """What the present window will have cost at its end, by group and in all, with intervals."""
    where = filter_of(request, caller)
    ledger = state.ledger
    found = await in_thread(lambda: ledger.forecast(window, by=names(by), where=where, zone=zone, limit=limit))
    if wants_exact(request):
        return exact(found)
    return plain(
        {
            "by": found.by,
            "rows": [_projection(row, found.by) for row in found.rows],
            "total": _projection(found.total, ()),
            "currency": found.currency,
            "zone": found.zone,
        }
    )


@router.get(
    "/v1/anomalies", responses={200: {"model": list[EpisodeTold], "content": {EXACT: {}}}}, openapi_extra=WHERE
)
async def anomalies(
    request: Request,
    caller: Reads,
    state: State,
    since: Since = None,
    until: Until = None,
    amount: Text = "5",
    percent: Annotated[int, Query(ge=0, le=100_000)] = 20,
    need: Literal["both", "either"] = "both",
    judged: bool = False,
    zone: Zone = None,
) -> Response:
    """Episodes of unusual spend in the last two weeks, or since a time, the latest first, with what explains them."""
    where = filter_of(request, caller)
    ledger = state.ledger
    found = await in_thread(
        lambda: ledger.anomalies(
            since=since,
            until=until,
            amount=amount,
            percent=percent,
            need=need,
            where=where,
            zone=zone,
            judged=judged,
        )
    )
    return exact(found) if wants_exact(request) else plain([_episode(one) for one in found])


@router.post("/v1/anomalies/{id}/verdict", responses={200: {"model": VerdictTold, "content": {EXACT: {}}}})
async def judge(request: Request, caller: Rules, state: State, id: EpisodeId, sent: VerdictSent) -> Response:
    """Say that an episode was expected, or no anomaly: it and others of its kind are not told again."""
    who = changer(caller, sent.who)
    found = await in_thread(
        lambda: state.ledger.judge_anomaly(id, sent.verdict, why=sent.why, who=who, zone=sent.zone)
    )
    if wants_exact(request):
        return exact(found)
    told = {name: getattr(found, name) for name in ("episode", "who", "why")}
    return plain({**told, "verdict": found.verdict.value, "at": isoformat(found.at)})


@router.get("/v1/compare", responses={200: {"model": ComparisonTold, "content": {EXACT: {}}}}, openapi_extra=WHERE)
async def compare(
    request: Request,
    caller: Reads,
    state: State,
    before_since: Text,
    before_until: Text,
    since: Text,
    until: Text,
    by: By = ["feature", "service"],  # noqa: B006 - FastAPI copies it
    zone: Zone = None,
) -> Response:
    """Two periods side by side. The change is split into volume, mix, price and failures, which add up to it.

    `before.<dimension>` and `after.<dimension>` filter one side: two releases, models, users or tags.
    """
    where = filter_of(request, caller)
    one_side = {side: _side_filter(request, side) for side in ("before", "after")}
    found = await in_thread(
        lambda: state.ledger.compare(
            names(by) if by else ("feature", "service"),
            before=(before_since, before_until),
            after=(since, until),
            where=where,
            where_before=caller.filtered({**where, **one_side["before"]}),
            where_after=caller.filtered({**where, **one_side["after"]}),
            zone=zone,
        )
    )
    if wants_exact(request):
        return exact(found)
    return plain(
        {
            "by": found.by,
            "rows": [_compared(row, found.by) for row in found.rows],
            "total": _compared(found.total, ()),
            "by_day": found.by_day,
            "currency": state.ledger.currency,
        }
    )


def _side_filter(request: Request, side: str) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for name, value in request.query_params.multi_items():
        kind, dot, dimension = name.partition(".")
        if dot and kind == side:
            if not dimension:
                raise InvalidInput(f"{side}.<dimension> names a dimension", code="unknown_dimension")
            found.setdefault(dimension, []).append(value or None)
    return found


def _projection(found: Projection, by: tuple[str, ...]) -> dict[str, Any]:
    return {
        "keys": dict(zip(by, found.keys, strict=True)),
        "label": found.label,
        "since": isoformat(found.since),
        "until": isoformat(found.until),
        "spent": amount_text(found.spent),
        "total": amount_text(found.total),
        "intervals": [
            {"level": one.level, "low": amount_text(one.low), "high": amount_text(one.high)}
            for one in found.intervals
        ],
        "steps": [{"at": isoformat(at), "amount": amount_text(amount)} for at, amount in found.steps],
        "learned": found.learned.value,
    }


def _episode(found: Episode) -> dict[str, Any]:
    return {
        "id": found.id,
        "by": dict(zip(found.by, found.keys, strict=True)),
        "step": found.step.value,
        "since": isoformat(found.since),
        "until": isoformat(found.until),
        "goes_on": found.goes_on,
        **{name: amount_text(getattr(found, name)) for name in ("actual", "expected", "impact", "peak")},
        "percent": percent_text(found.percent),
        "causes": [
            {
                "dimension": one.dimension,
                "value": one.value,
                "actual": amount_text(one.actual),
                "expected": amount_text(one.expected),
            }
            for one in found.causes
        ],
        "verdict": None if found.verdict is None else found.verdict.value,
    }


def _compared(row: ComparedRow, by: tuple[str, ...]) -> dict[str, Any]:
    keys: Mapping[str, str | None] = dict(zip(by, row.keys, strict=True)) if by else {}
    return {"keys": keys, "before": _side(row.before), "after": _side(row.after), "change": _change(row.change)}


def _side(side: Side) -> dict[str, Any]:
    return {"cost": amount_text(side.amount), "calls": side.calls, "failed": side.failed}


def _change(change: Change) -> dict[str, Any]:
    parts = ("before", "after", "amount", "volume", "mix", "price", "failures")
    return {
        **{name: amount_text(getattr(change, name)) for name in parts},
        "percent": percent_text(change.percent),
    }


def percent_text(value: Fraction | None) -> str | None:
    """A percentage to one decimal; None where there was nothing to be a part of."""
    if value is None:
        return None
    tenths = round_half_even(value.numerator * 10, value.denominator)
    return f"{'-' if tenths < 0 else ''}{abs(tenths) // 10}.{abs(tenths) % 10}"
