"""Charts for the pages: each answers a Vega-Lite spec, drawn by `faces.charts` from what the routes say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final

import msgspec
from starlette.responses import Response

from outlay.analysing import BLOCK_DAYS, WATCHED_DAYS
from outlay.analytics.anomaly import Episode, SpendSeries, Step, course
from outlay.analytics.comparison import Comparison
from outlay.analytics.projection import Projections
from outlay.clock import (
    MICROSECONDS_PER_SECOND,
    date_to_day,
    isoformat,
    local_midnight,
    to_instant,
    window_of,
    windows_between,
)
from outlay.errors import InvalidInput, NotFound
from outlay.faces import charts
from outlay.faces.charts import ExpectedPoint, Note, Spec
from outlay.faces.server.pages.visit import Page, Visit, address
from outlay.model import CostTable
from outlay.money import Money, decimal_to_pico, round_half_even

STEPS: Final = ("hour", "day", "week", "month")
_HOUR: Final = 3_600 * MICROSECONDS_PER_SECOND


async def spend(visit: Visit) -> Response:
    """Spend over time, stacked by a dimension."""
    step, split = visit.query.get("step", "day"), visit.query.get("split", "")
    since, until = visit.span()
    table, notes = await asyncio.gather(
        visit.ask.exact(
            CostTable,
            "/v1/costs",
            ("by", step),
            ("by", split or None),
            *visit.where(),
            since=since,
            until=until,
            limit=10_000,
        ),
        day_notes(visit),
    )
    spec = charts.spend_over_time(table)
    chosen = [note for note in notes if not visit.query.get("hour")]
    first = date.fromisoformat(since[:10])
    inside = [note for note in chosen if first <= note[0] < date.fromisoformat(until[:10])]
    spec = charts.with_notes(
        spec, [Note(_midnight(day, visit.facts.zone), text) for day, text in inside], visit.facts.zone
    )
    return told(visit, spec, drill=lambda row: _into(visit, step, row))


async def top(visit: Visit) -> Response:
    """The dearest of a dimension."""
    since, until = visit.span()
    by = visit.query.get("by", "service")
    table = await visit.ask.exact(
        CostTable, "/v1/costs", *visit.where(), by=by, since=since, until=until, limit=10_000
    )
    return told(visit, charts.top_bar(table, most=10))


async def quantity(visit: Visit) -> Response:
    """Money above how much of a meter was used."""
    since, until = visit.span()
    meter, step = visit.query.get("meter", ""), visit.query.get("step", "day")
    table = await visit.ask.exact(
        CostTable,
        "/v1/costs",
        *visit.where(),
        ("where.meter", meter),
        by=step,
        since=since,
        until=until,
        quantities=True,
        limit=10_000,
    )
    return told(visit, charts.money_and_quantity(table, meter, unit=meter.replace("_", " ")))


async def forecast(visit: Visit) -> Response:
    """Spend by day or hour, and what is expected until the window's end."""
    window = visit.query.get("window", "month")
    step = "hour" if window == "day" else "day"
    back = visit.today - timedelta(days=2 if window == "day" else 45)
    found, table = await asyncio.gather(
        visit.ask.exact(Projections, "/v1/forecast", *visit.where(), window=window),
        visit.ask.exact(CostTable, "/v1/costs", *visit.where(), by=step, since=back, limit=10_000),
    )
    return told(visit, charts.forecast(table, found.total))


async def budget(visit: Visit) -> Response:
    """What the present window has cost against a limit, and where it is going."""
    window = visit.query.get("window", "month")
    found = await visit.ask.exact(
        Projections, "/v1/forecast", *visit.where(), window=window, zone=visit.query.get("zone")
    )
    total = found.total
    step = "hour" if window == "day" else "day"
    table = await visit.ask.exact(
        CostTable,
        "/v1/costs",
        *visit.where(),
        by=step,
        since=isoformat(total.since),
        until=isoformat(total.until),
        zone=visit.query.get("zone"),
        limit=10_000,
    )
    text = visit.query.get("limit", "")
    limit = Money.of(text, visit.facts.currency) if text else None
    return told(visit, charts.budget_progress(table, total, limit=limit, now=visit.now))


async def jobs(visit: Visit) -> Response:
    """How many jobs cost how much."""
    table = await _by_job(visit)
    return told(visit, charts.histogram([row.amount for row in table.rows if row.keys[0]], currency=table.currency))


async def job_trend(visit: Visit) -> Response:
    """What a job costs on average, by the day."""
    since, until = visit.span()
    table = await visit.ask.exact(
        CostTable, "/v1/costs", ("by", "day"), ("by", "job"), *visit.where(), since=since, until=until, limit=10_000
    )
    sums: dict[str, list[int]] = {}
    for row in table.rows:
        if row.keys[1] is not None:
            sums.setdefault(str(row.keys[0]), []).append(row.amount)
    windows = windows_between(
        _midnight(date.fromisoformat(since[:10]), table.zone),
        _midnight(date.fromisoformat(until[:10]), table.zone),
        "day",
        table.zone,
    )
    points = [
        (one.start, round_half_even(sum(sums[one.label]), len(sums[one.label])) if one.label in sums else None)
        for one in windows
    ]
    return told(visit, charts.trend(points, zone=table.zone, currency=table.currency))


async def change(visit: Visit) -> Response:
    """From one period's spend to the other's by what made the difference."""
    names = ("before_since", "before_until", "since", "until")
    asked = {name: visit.query.get(name, "") for name in names}
    by = visit.query.get("by", "feature,service")
    found = await visit.ask.exact(Comparison, "/v1/compare", *visit.where(), *visit.sides(), by=by, **asked)
    return told(visit, charts.waterfall(found.total.change, currency=visit.facts.currency))


async def anomaly(visit: Visit) -> Response:
    """A watched series around an episode, with what was expected during it."""
    id, since = visit.query.get("id", ""), visit.query.get("since")
    # As the page asks it: finding them is dear, and the answer is there still.
    found = await visit.ask.get("/v1/anomalies", since=since, judged=True)
    one = next((each for each in found if each["id"] == id), None)
    if one is None:
        raise NotFound("this anomaly is not known any more", code="no_such_anomaly")
    episode = _episode(one)
    points = await _series(visit, episode)
    return told(visit, charts.anomaly(episode, points, zone=visit.facts.zone, currency=visit.facts.currency))


def _episode(told: Mapping[str, Any]) -> Episode:
    """An episode as its chart takes it."""
    since, until, step = to_instant(told["since"]), to_instant(told["until"]), Step(told["step"])
    return Episode(
        id=told["id"],
        series="",
        by=tuple(told["by"]),
        keys=tuple(told["by"].values()),
        step=step,
        since=since,
        until=until,
        steps=max(1, (until - since) // (_HOUR if step is Step.HOUR else 24 * _HOUR)),
        goes_on=told["goes_on"],
        actual=decimal_to_pico(told["actual"]),
        expected=decimal_to_pico(told["expected"]),
        peak=decimal_to_pico(told["peak"]),
    )


async def _series(visit: Visit, episode: Episode) -> list[ExpectedPoint]:
    """The steps from a while before an episode to a while after it, with what the detector expected of each and how
    far noise reaches: by the history that it learned from.
    """
    step = episode.step.value
    around = 36 * _HOUR if step == "hour" else 21 * 24 * _HOUR
    block, zone = BLOCK_DAYS * 24 * _HOUR, visit.facts.zone
    begins = window_of(episode.since // block * block, "day", zone).start
    learned = window_of(begins - WATCHED_DAYS[episode.step] * 24 * _HOUR, "day", zone).start
    span = {"since": isoformat(learned), "until": isoformat(min(episode.until + around // 2, visit.now))}
    named = [(f"where.{name}", key or "") for name, key in zip(episode.by, episode.keys, strict=True)]
    table, every = await asyncio.gather(
        visit.ask.exact(CostTable, "/v1/costs", *named, by=step, limit=10_000, **span),
        # Before the ledger began nothing was known; what came later cost nothing until then. Users are learned first.
        visit.ask.exact(CostTable, "/v1/costs", *(named if episode.by == ("user",) else []), by="day", **span),
    )
    begun = min((to_instant(str(row.keys[0]), table.zone) for row in every.rows), default=learned)
    windows = list(windows_between(max(begun, learned), to_instant(span["until"]), episode.step.value, table.zone))
    amounts = {to_instant(str(row.keys[0]), table.zone): row.amount for row in table.rows}
    series = SpendSeries(
        by=episode.by,
        keys=episode.keys,
        step=episode.step,
        starts=(*(one.start for one in windows), windows[-1].end),
        amounts=tuple(amounts.get(one.start, 0) for one in windows),
    )
    points = zip(series.starts, series.amounts, course(series), strict=False)
    return [
        ExpectedPoint(at=at, actual=actual, expected=usual.expected, low=usual.low, high=usual.high)
        for at, actual, usual in points
        if at >= episode.since - around
    ]


async def _by_job(visit: Visit) -> CostTable:
    since, until = visit.span()
    return await visit.ask.exact(
        CostTable, "/v1/costs", *visit.where(), by="job", since=since, until=until, limit=10_000
    )


async def day_notes(visit: Visit) -> list[tuple[date, str]]:
    """People's words about days, for visitors who see the whole ledger."""
    if not visit.sees_all:
        return []
    found = await visit.ask.get("/v1/notes")
    return [(date.fromisoformat(one["day"]), one["text"]) for one in found]


def told(visit: Visit, spec: Spec, drill: Callable[[dict[str, Any]], str] | None = None) -> Response:
    """A chart for a page: without its own title, which the page says, and in the page's theme."""
    theme: charts.Theme = "dark" if visit.query.get("theme") == "dark" else "light"
    found = {**charts.themed(charts.sized(spec, "container"), theme), "padding": 4}
    found.pop("title", None)
    if drill is not None:
        for row in found.get("data", {}).get("values", ()):
            row["href"] = drill(row)
    return visit.sent(msgspec.json.encode(found), "application/json")


def _into(visit: Visit, step: str, row: dict[str, Any]) -> str:
    """Where a click on a bar leads: the same question in that month, day or hour."""
    day = str(row.get("at", ""))[:10]
    split, series = visit.query.get("split", ""), row.get("series")
    kept = [
        *visit.where(),
        *([(f"where.{split}", str(series))] if split and series not in (None, "(other)", "(none)") else []),
    ]
    if not day or step == "hour":
        return ""
    first = date.fromisoformat(day)
    last = first if step == "day" else first + timedelta(days=6) if step == "week" else _last_of_month(first)
    return address("/explore", [*kept, ("since", str(first)), ("until", str(last))])


def _last_of_month(first: date) -> date:
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _midnight(day: date, zone: str) -> int:
    return local_midnight(date_to_day(day), zone)


def checked_step(text: str, days: int) -> str:
    """By what step a range is drawn: as asked, else so that there are neither few nor many."""
    if text:
        if text not in STEPS:
            raise InvalidInput(f"step is one of {', '.join(STEPS)}", code="bad_step", field="step")
        return text
    return "hour" if days <= 2 else "day" if days <= 120 else "month"


PAGES: Final = (
    Page("GET", "/charts/spend", "read", spend),
    Page("GET", "/charts/top", "read", top),
    Page("GET", "/charts/quantity", "read", quantity),
    Page("GET", "/charts/forecast", "read", forecast),
    Page("GET", "/charts/budget", "read", budget),
    Page("GET", "/charts/jobs", "read", jobs),
    Page("GET", "/charts/job-trend", "read", job_trend),
    Page("GET", "/charts/change", "read", change),
    Page("GET", "/charts/anomaly", "read", anomaly),
)
