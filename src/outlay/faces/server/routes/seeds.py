"""The routes that the documents behind Outlay ask for, with their own bodies: amounts are numbers, all digits kept.

A figure is the sum of what the ledger holds, so that parts always add up to their total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from outlay.analytics.categories import fields_needed, group_by_category, read_patterns
from outlay.analytics.comparison import Change, Side
from outlay.answers import Costs
from outlay.api import Ledger
from outlay.arguments import read_date, read_where
from outlay.clock import day_to_date, local_day, window_of
from outlay.config import load_settings
from outlay.errors import InvalidInput, NotFound
from outlay.faces.server.access import Caller
from outlay.faces.server.routes.answering import (
    NAME_MAX,
    PROBLEMS,
    Filter,
    Reads,
    State,
    in_thread,
    number,
    plain,
    share_of,
)
from outlay.faces.server.seeds_models import (
    DailyCosts,
    Dashboard,
    Features,
    MonthlyCosts,
    PeriodComparison,
    UserCosts,
    VideoCosts,
)
from outlay.model import CostRow
from outlay.money import round_half_even

router = APIRouter(tags=["the documents' own routes"], responses=PROBLEMS)

DAYS_IN_A_MONTH: Final = 30
TOP: Final = 10
OTHER: Final = "other"
LIKELY: Final = 80
"""The percentage of times that an interval holds."""

TargetDate = Annotated[str | None, Query(description="a date such as 2026-03-10; today by default", max_length=40)]
User = Annotated[str | None, Query(description="one user's costs only", min_length=1, max_length=NAME_MAX)]
Days = Annotated[int, Query(description="the last so many days, today included", ge=1, le=3_660)]


@router.get("/analytics/costs/daily", responses={200: {"model": DailyCosts}})
async def daily(caller: Reads, state: State, target_date: TargetDate = None) -> Response:
    """A day's costs by service."""

    def work() -> dict[str, Any]:
        day = _day(state.ledger, target_date)
        services = _by_service(state.ledger, caller, day, day + timedelta(days=1))
        return {"date": day.isoformat(), **services}

    return plain(await in_thread(work))


@router.get("/analytics/costs/monthly", responses={200: {"model": MonthlyCosts}})
async def monthly(
    caller: Reads,
    state: State,
    year: Annotated[int, Query(ge=1970, le=9998)],
    month: Annotated[int, Query(ge=1, le=12)],
) -> Response:
    """A month's costs by service."""
    first = date(year, month, 1)
    after = date(year + month // 12, month % 12 + 1, 1)
    services = await in_thread(lambda: _by_service(state.ledger, caller, first, after))
    return plain({"year": year, "month": month, **services})


@router.get("/analytics/costs/video/{video_id:path}", responses={200: {"model": VideoCosts}})
async def video(caller: Reads, state: State, video_id: str) -> Response:
    """What one video (any job) cost, by service."""

    def work() -> dict[str, Any]:
        where = read_where(caller.filtered({"job": video_id}))
        found = state.ledger.costs("service", where=where)
        if not found.events:
            raise NotFound(f"no call is recorded for video {video_id!r}", code="no_such_job")
        return {"video_id": video_id, **_services(found)}

    return plain(await in_thread(work))


@router.get("/api/user/costs", responses={200: {"model": UserCosts}})
async def user_costs(
    caller: Reads,
    state: State,
    date: Annotated[str | None, Query(description="a date; today by default", max_length=40)] = None,
    user: User = None,
) -> Response:
    """One user's costs of a day. A token says whose; another caller names the user."""

    def work() -> dict[str, Any]:
        where = caller.filtered({} if user is None else {"user": user})
        named = where.get("user")
        if named is None:
            raise InvalidInput("say whose costs: a token that names its user, or ?user=", code="missing_field")
        return _user_day(state.ledger, str(named), _day(state.ledger, date), read_where(where))

    return plain(await in_thread(work))


@router.get("/analytics/dashboard", responses={200: {"model": Dashboard}})
async def dashboard(caller: Reads, state: State, days: Days = DAYS_IN_A_MONTH, user: User = None) -> Response:
    """The last days' costs by category, model and feature, day by day, and what a month comes to at this pace."""
    data = await in_thread(lambda: _dashboard(state.ledger, _whose(caller, user), days))
    return plain({"success": True, "data": data, "error": None})


@router.get("/analytics/features", responses={200: {"model": Features}})
async def features(caller: Reads, state: State, days: Days = DAYS_IN_A_MONTH, user: User = None) -> Response:
    """The last days' costs by feature."""

    def work() -> dict[str, Any]:
        first, after = _last(state.ledger, days)
        where = _whose(caller, user)
        found = state.ledger.costs(("feature", "service"), where=where, since=first, until=after, quantities=True)
        return {name: _feature(rows) for name, rows in _grouped(found.rows, lambda row: row.keys[0] or OTHER)}

    return plain({"success": True, "data": await in_thread(work), "error": None})


@router.get("/analytics/compare", responses={200: {"model": PeriodComparison}})
async def compare(caller: Reads, state: State, before: Days = 60, after: Days = 30, user: User = None) -> Response:
    """The last whole days (`after`) beside those before them (`before`): what is saved, by the day if they differ."""
    data = await in_thread(lambda: _compared(state.ledger, _whose(caller, user), before, after))
    return plain({"success": True, "data": data, "error": None})


def _whose(caller: Caller, user: str | None) -> Filter:
    return read_where(caller.filtered({} if user is None else {"user": user}))


def _day(ledger: Ledger, text: str | None) -> date:
    return _today(ledger) if not text else read_date(text)


def _today(ledger: Ledger) -> date:
    return day_to_date(local_day(ledger.clock.now(), ledger.store.home_zone))


def _last(ledger: Ledger, days: int) -> tuple[date, date]:
    """The first of the last so many days, and the day after today."""
    after = _today(ledger) + timedelta(days=1)
    return after - timedelta(days=days), after


def _by_service(ledger: Ledger, caller: Caller, first: date, after: date) -> dict[str, Any]:
    where = read_where(caller.filtered({}))
    return _services(ledger.costs("service", where=where, since=first, until=after))


def _services(found: Costs) -> dict[str, Any]:
    costs = {str(row.keys[0]): number(row.amount) for row in found.rows}
    return {"costs_by_service": costs, "total": number(found.total.pico)}


def _user_day(ledger: Ledger, user: str, day: date, where: Filter) -> dict[str, Any]:
    found = ledger.costs(
        ("service", "operation"), where=where, since=day, until=day + timedelta(days=1), quantities=True
    )
    return {
        "user_id": user,
        "date": day.isoformat(),
        "total_cost": number(found.total.pico),
        "currency": found.currency,
        "requests": found.events,
        "cost_breakdown": [
            {
                "service": row.keys[0],
                "operation": row.keys[1],
                "cost": number(row.amount),
                "requests": row.events,
                "quantities": {meter: msgspec.Raw(str(used).encode()) for meter, used in _used(row).items()},
            }
            for row in found.rows
        ],
    }


def _used(row: CostRow) -> dict[str, str]:
    return {meter: format(used, "f") for meter, used in (row.quantities or {}).items()}


def _dashboard(ledger: Ledger, where: Filter, days: int) -> dict[str, Any]:
    first, after = _last(ledger, days)
    span: dict[str, Any] = {"where": where, "since": first, "until": after}
    by_day = ledger.costs("day", **span)
    by_model = ledger.costs("service", **span)
    by_feature = ledger.costs("feature", **span)
    total = by_day.total.pico
    average = share_of(total, days)
    dearest = sorted(by_feature.rows, key=lambda row: (-row.amount, row.keys[0] or OTHER))[:TOP]
    return {
        "currentPeriod": {
            "startDate": first.isoformat(),
            "endDate": (after - timedelta(days=1)).isoformat(),
            "totalCost": number(total),
            "totalInvocations": by_day.events,
            "costByCategory": _categories(ledger, span),
            "costByModel": {str(row.keys[0]): number(row.amount) for row in by_model.rows},
            "topCostlyFeatures": [{"flowName": row.keys[0] or OTHER, **_figures(row)} for row in dearest],
            "dailyTrends": [
                {"date": row.keys[0], "cost": number(row.amount), "invocations": row.events} for row in by_day.rows
            ],
        },
        "projections": {
            "dailyAverage": number(average),
            "monthlyProjection": number(share_of(total * DAYS_IN_A_MONTH, days)),
            "monthToDate": number(_month_to_date(ledger, where)),
            **_month_forecast(ledger, where),
        },
        "currency": by_day.currency,
    }


def _month_forecast(ledger: Ledger, where: Filter) -> dict[str, Any]:
    found = ledger.forecast("month", where=where).total
    likely = next((one for one in found.intervals if one.level == LIKELY), None)
    low, high = (likely.low, likely.high) if likely else (found.total, found.total)
    names = ("monthForecast", "monthForecastLow", "monthForecastHigh")
    return dict(zip(names, map(number, (found.total, low, high)), strict=True))


def _compared(ledger: Ledger, where: Filter, before: int, after: int) -> dict[str, Any]:
    last = _today(ledger)
    spans = [(last - timedelta(days=before + after), before), (last - timedelta(days=after), after)]
    periods = [(first, first + timedelta(days=days)) for first, days in spans]
    found = ledger.compare("feature", before=periods[0], after=periods[1], where=where)
    sides = (found.total.before, found.total.after)
    saved = -found.total.change.amount
    daily_saved = saved if found.by_day else share_of(saved, after)
    return {
        **{
            name: _period(first, days, side)
            for name, (first, days), side in zip(("before", "after"), spans, sides, strict=True)
        },
        "savings": {
            **_saved(found.total.change),
            "perDay": found.by_day,
            "monthlySavings": number(daily_saved * DAYS_IN_A_MONTH),
        },
        "savingsByFeature": {
            row.keys[0] or OTHER: {
                "before": number(row.change.before),
                "after": number(row.change.after),
                **_saved(row.change),
            }
            for row in found.rows
        },
        "currency": ledger.currency,
    }


def _period(first: date, days: int, side: Side) -> dict[str, Any]:
    return {
        "startDate": first.isoformat(),
        "endDate": (first + timedelta(days=days - 1)).isoformat(),
        "days": days,
        "totalCost": number(side.amount),
        "totalInvocations": side.calls,
        "averageDailyCost": number(share_of(side.amount, days)),
        "monthlyProjection": number(share_of(side.amount * DAYS_IN_A_MONTH, days)),
    }


def _saved(change: Change) -> dict[str, Any]:
    """What a change saves; the percentage to two decimals, None where nothing was spent before."""
    share = change.percent
    hundredths = None if share is None else -round_half_even(share.numerator * 100, share.denominator)
    percent = None if hundredths is None else msgspec.Raw(str(Decimal(hundredths).scaleb(-2)).encode())
    return {"absoluteSavings": number(-change.amount), "percentageSavings": percent}


def _month_to_date(ledger: Ledger, where: Filter) -> int:
    month = window_of(ledger.clock.now(), "month", ledger.store.home_zone)
    return ledger.costs(where=where, since=month.start, until=month.end).total.pico


def _categories(ledger: Ledger, span: dict[str, Any]) -> dict[str, Any]:
    """Costs by the categories of outlay.toml; by feature where it has none."""
    patterns = read_patterns(load_settings().categories)
    if not patterns:
        rows: Iterable[CostRow] = ledger.costs("feature", **span).rows
    else:
        fields = fields_needed(patterns)
        found = ledger.costs(fields, **span)
        rows = group_by_category(fields, ("category",), found.rows, patterns, None)
    return {row.keys[0] or OTHER: number(row.amount) for row in rows}


def _figures(row: CostRow) -> dict[str, Any]:
    return {
        "totalCost": number(row.amount),
        "invocationCount": row.events,
        "averageCost": number(share_of(row.amount, row.events) if row.events else 0),
    }


def _feature(rows: list[CostRow]) -> dict[str, Any]:
    amount, calls = sum(row.amount for row in rows), sum(row.events for row in rows)
    tokens = {
        name: sum(int((row.quantities or {}).get(f"{name}_tokens", 0)) for row in rows)
        for name in ("input", "output")
    }
    return {
        "totalCost": number(amount),
        "invocationCount": calls,
        "averageCost": number(share_of(amount, calls) if calls else 0),
        "failed": sum(row.failed for row in rows),
        "tokenUsage": tokens,
        "costByModel": {str(row.keys[1]): number(row.amount) for row in rows},
    }


def _grouped(rows: Iterable[CostRow], key: Callable[[CostRow], str]) -> list[tuple[str, list[CostRow]]]:
    """Groups of rows by a name, the dearest first."""
    groups: dict[str, list[CostRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return sorted(groups.items(), key=lambda item: (-sum(row.amount for row in item[1]), item[0]))
