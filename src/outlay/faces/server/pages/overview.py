"""The first page: what is spent today, this month and by its end, on what, why it changed, what to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import Response

from outlay.analytics.categories import CATEGORY
from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.components import (
    NONE,
    Badge,
    Bar,
    Card,
    Cards,
    Chart,
    Chips,
    Choice,
    Choices,
    Count,
    Figures,
    Link,
    Live,
    Notice,
    Percent,
    Prose,
    Several,
    Table,
    change_of,
    columns,
    share,
    total_of,
)
from outlay.faces.server.pages.drawing import checked_step
from outlay.faces.server.pages.headline import fullest_budget, leading
from outlay.faces.server.pages.visit import Page, Period, Visit, address, period_named

SPLITS: Final = ("provider", "service", "feature", "project", "customer", "team", "user", "environment")
"""The dimensions by which people stack and group."""

TOPS: Final = ("feature", "user", "job", "customer")
TOO_MUCH: Final = ("scan_too_large", "query_too_slow", "too_many_rows")
"""What a question is refused with that no rollup answers and that reaches too far back."""

ROWS: Final = 6
LIVE: Final = 8
"""How many of the last receipts stand there at first."""

_BASES: Final = {
    "measured": "measured",
    "billed": "billed",
    "reported": "told by providers",
    "estimated": "estimated",
    "adjusted": "adjusted",
}


async def overview(visit: Visit) -> Response:
    """The morning's page. A visitor who sees one user's costs only gets that user's page."""
    if "user" in visit.caller.scope:
        return visit.go("/me")
    period, split = visit.period(), _split(visit)
    month = period_named("month", visit.today)
    figures, standing, alerts, place = await asyncio.gather(
        leading(visit, month), fullest_budget(visit), _alerts(visit), visit.ask.place()
    )
    blocks: list[Any] = [Figures([*figures, *standing]), *alerts]
    blocks.append(
        Cards(
            [
                Card(
                    title="Spend over time",
                    note=period.label,
                    blocks=[_choices(visit), _splits(visit, split), *spend_chart(visit, period, split)],
                    more=Link("Explore", address("/explore", [("period", period.name or "30d"), ("by", split)])),
                    span=8,
                ),
                Card(
                    title="Live",
                    note="receipts as they come",
                    blocks=[_live(visit, place)],
                    span=4,
                ),
                Card(
                    title="What changed yesterday, and why",
                    part=address("/parts/changes", visit.where()),
                    height=400,
                    more=Link("Compare", "/compare"),
                    span=6,
                ),
                Card(
                    title="Cost per hour",
                    note="the last two days",
                    blocks=[_hours(visit)],
                    more=Link("Explore", address("/explore", [("period", "today"), ("by", "hour")])),
                    span=6,
                ),
                *(_top(visit, by, period) for by in TOPS),
                _later(visit, "Tokens and quantities", "/parts/quantities", period),
                _later(visit, "What the figures rest on", "/parts/bases", period),
                *([_later(visit, "Top categories", "/parts/categories", period)] if visit.site.patterns else ()),
            ]
        )
    )
    return visit.page("Overview", blocks, lead=f"at {visit.local(visit.now)}")


async def changes(visit: Visit) -> Response:
    """What yesterday cost more or less than the day before, by feature and service."""
    after = period_named("yesterday", visit.today)
    found = await compared(visit, after.before, after, "feature,service")
    change = found["total"]["change"]
    rows = [
        (
            Link(named(row["keys"]), into(visit, row["keys"], after)),
            visit.amount(row["change"]["amount"], signed=True),
            reason(visit, row["change"]),
        )
        for row in found["rows"][:ROWS]
        if Decimal(row["change"]["amount"])
    ]
    percent = change_of(Decimal(change["after"]), Decimal(change["before"]))
    head = Several(
        (
            visit.amount(change["after"]),
            "yesterday,",
            visit.amount(change["amount"], signed=True),
            percent,
            "against the day before:",
            reason(visit, change),
        )
    )
    table = Table(
        caption="What changed yesterday",
        columns=columns("Feature / service", ">Change", "~Why"),
        rows=rows,
        empty="Yesterday cost what the day before did.",
    )
    return visit.part([head, table])


async def dearest(visit: Visit) -> Response:
    """The dearest features, users, jobs, …, with their calls."""
    by, period = visit.query.get("by", "feature"), visit.period()
    try:
        found = await visit.ask.get("/v1/top", *visit.where(), by=by, limit=ROWS + 1, **period.span)
    except Problem as problem:
        if problem.code not in TOO_MUCH:
            raise
        period = period_named("yesterday", visit.today)
        said = Prose("Too many calls to look at one by one: these are the dearest of yesterday.")
        found = await visit.ask.get("/v1/top", *visit.where(), by=by, limit=ROWS + 1, **period.span)
        return visit.part([said, table_of(visit, found, by, period, most=ROWS)])
    return visit.part([table_of(visit, found, by, period, most=ROWS)])


def table_of(visit: Visit, found: Mapping[str, Any], by: str, period: Period, most: int) -> Table:
    """Groups of costs with their share and calls, each a link into it."""
    total = Decimal(found["total"]["cost"])
    rows = [
        (
            _group(visit, by, row["keys"][by], period),
            visit.amount(row["cost"]),
            Percent(share(Decimal(row["cost"]), total)),
            Count(str(row["events"])),
        )
        for row in found["rows"][:most]
    ]
    return Table(
        caption=f"The dearest by {by}",
        columns=columns(by.capitalize(), ">Cost", ">~Share", ">Calls"),
        rows=rows,
        empty=f"No spend has a {by} in this time. Pass {by}=… with each call.",
    )


def spend_chart(
    visit: Visit, period: Period, split: str, step: str = "", extra: Sequence[tuple[str, str]] = ()
) -> list[Any]:
    """Spend over time, drawn when the page stands; `extra` are filters beside the address's own."""
    chosen = checked_step(step, period.days)
    since, last = period.since, period.until - timedelta(days=1)
    where = [*visit.where(), *extra]
    query = [*where, ("since", str(since)), ("until", str(last)), ("step", chosen), ("split", split)]
    csv = [*where, ("since", str(since)), ("until", str(period.until)), ("by", chosen), ("by", split)]
    label = f"Spend by {chosen}" + (f" and {split}" if split else "") + f", {period.label}"
    return [
        Chart(source=address("/charts/spend", query), label=label, height=300, csv=address("/csv/costs", csv)),
    ]


async def compared(visit: Visit, before: Period, after: Period, by: str) -> Any:
    """Two ranges of days side by side."""
    return await visit.ask.get(
        "/v1/compare",
        *visit.where(),
        *visit.sides(),
        by=by,
        before_since=before.since,
        before_until=before.until,
        since=after.since,
        until=after.until,
    )


def reason(visit: Visit, change: Mapping[str, str]) -> str:
    """What a change is made of, in words: the greater parts of it, the greatest first."""
    words = {
        "volume": ("more calls", "fewer calls"),
        "mix": ("dearer mix", "cheaper mix"),
        "price": ("dearer calls", "cheaper calls"),
        "failures": ("more failures", "fewer failures"),
    }
    parts = sorted(((Decimal(change[name]), name) for name in words), key=lambda one: -abs(one[0]))
    whole = sum(abs(amount) for amount, _ in parts)
    told = [
        f"{words[name][0 if amount > 0 else 1]} {visit.amount(amount, signed=True).shown}"
        for amount, name in parts
        if amount and abs(amount) * 10 >= whole
    ]
    # A sign stays with its amount.
    return ", ".join(told).replace("−", "−\u2060")


def named(keys: Mapping[str, str | None]) -> str:
    """A group's name."""
    return " / ".join(value or NONE for value in keys.values())


def into(visit: Visit, keys: Mapping[str, str | None], period: Period, **more: str) -> str:
    """The address of what a group is made of."""
    last = period.until - timedelta(days=1)
    filters = [(f"where.{name}", value) for name, value in keys.items() if value is not None]
    return address(
        "/explore", [*visit.where(), *filters, ("since", str(period.since)), ("until", str(last)), *more.items()]
    )


async def _alerts(visit: Visit) -> list[Any]:
    if not visit.sees_all:
        return []
    found = await visit.ask.get("/v1/alerts", open=True, limit=4)
    blocks: list[Any] = []
    if found["undelivered"]:
        watch = "" if found["watched"] else ", and nobody watches: run outlay watch, or a server"
        text = f"Alerts undelivered: {found['undelivered']}{watch}."
        blocks.append(Notice(text, "bad", Link("See them", "/alerts")))
    if found["alerts"]:
        rows = [
            (
                Badge(one["severity"], tone_of(one["severity"])),
                Link(one["title"], "/alerts"),
                visit.moment(one["raised_at"]),
                "seen by " + one["acknowledged_by"] if one["acknowledged_by"] else Badge("open", "warn"),
            )
            for one in found["alerts"]
        ]
        table = Table(caption="Open alerts", columns=columns("Severity", "What", "~Since", "State"), rows=rows)
        blocks.append(Card(title="Open alerts", blocks=[table], more=Link("All alerts", "/alerts")))
    return blocks


def tone_of(severity: str) -> Any:
    """The colour of a severity."""
    return {"critical": "bad", "error": "bad", "warning": "warn"}.get(severity, "accent")


def _later(visit: Visit, title: str, path: str, period: Period) -> Card:
    """A card below the fold, asked for when it is near to be seen."""
    part = address(path, [*visit.where(), *_days(period)])
    return Card(title=title, note=period.label, part=part, height=280, span=6)


async def quantities(visit: Visit) -> Response:
    """What was used beside what it cost."""
    period = visit.period()
    found = await visit.ask.get("/v1/costs", *visit.where(), by="meter", quantities=True, **period.span)
    rows = [
        (
            Link(meter.replace("_", " "), into(visit, {"meter": meter}, period, by="service")),
            Count((row.get("quantities") or {}).get(meter, "0")),
            visit.amount(row["cost"]),
        )
        for row in found["rows"][:8]
        if (meter := row["keys"]["meter"]) not in (None, "billed_cost")
    ]
    table = Table(
        caption="Tokens and quantities",
        columns=columns("Meter", ">Used", ">Cost"),
        rows=rows,
        empty="Nothing was used in this time.",
    )
    return visit.part([table])


async def bases(visit: Visit) -> Response:
    """How much of the spend is measured, billed, estimated, and which calls are without a price."""
    total = (await visit.ask.get("/v1/costs", *visit.where(), **visit.period().span))["total"]
    amounts = {name: Decimal(cost) for name, cost in (total.get("basis") or {}).items()}
    whole = sum(amounts.values(), Decimal(0))
    rows = [
        (
            _BASES.get(name, name),
            visit.amount(cost),
            Percent(share(cost, whole)),
            Bar(((share(cost, whole), "warn" if name == "estimated" else "accent"),), f"{share(cost, whole):.1f} %"),
        )
        for name, cost in sorted(amounts.items(), key=lambda one: -one[1])
    ]
    table = Table(
        caption="What the figures rest on",
        columns=columns("Basis", ">Cost", ">Share", "~"),
        rows=rows,
        empty="No spend.",
    )
    estimated = share(amounts.get("estimated", Decimal(0)), whole)
    facts = Several(
        (
            Percent(estimated),
            "of the spend is estimated.",
            Count(str(total["failed"])),
            "calls failed,",
            Count(str(total["unpriced"] + total["incomplete"])),
            Link("calls without a price", "/prices?show=unpriced")
            if total["unpriced"] + total["incomplete"]
            else "are without a price",
        )
    )
    return visit.part([table, facts])


def _live(visit: Visit, place: int) -> Live:
    return Live(address("/live", [*visit.where(), ("after", str(max(0, place - LIVE)))]))


def _hours(visit: Visit) -> Chart:
    since = visit.today - timedelta(days=1)
    query = [*visit.where(), ("since", str(since)), ("until", str(visit.today)), ("step", "hour")]
    csv = [*visit.where(), ("since", str(since)), ("by", "hour")]
    return Chart(
        source=address("/charts/spend", query),
        label="Spend by hour, yesterday and today",
        height=340,
        csv=address("/csv/costs", csv),
    )


def _top(visit: Visit, by: str, period: Period) -> Card:
    name = [("period", period.name)] if period.name else list(period.span.items())
    return Card(
        title=f"Top {by}s",
        note=period.label,
        part=address("/parts/top", [*visit.where(), *_days(period), ("by", by)]),
        height=280,
        more=Link("All", "/jobs" if by == "job" else address("/explore", [*name, ("by", by)])),
        span=6,
    )


def _days(period: Period) -> list[tuple[str, str]]:
    return [("since", str(period.since)), ("until", str(period.until - timedelta(days=1)))]


def _group(visit: Visit, by: str, key: str | None, period: Period) -> Any:
    if key is None:
        return NONE
    if key == "(other)" or by == CATEGORY:
        return key
    if by == "job":
        return Link(key, f"/jobs/{quoted(key)}")
    if by in ("user", "customer") and visit.sees_all:
        return Link(key, f"/people/{by}/{quoted(key)}")
    return Link(key, into(visit, {by: key}, period))


def quoted(name: str) -> str:
    """A name in a path."""
    return quote(name, safe="")


def _split(visit: Visit) -> str:
    asked = visit.query.get("split", "provider")
    return asked if asked in SPLITS else "provider"


def _choices(visit: Visit) -> Choices:
    return visit.periods(names=("7d", "30d", "90d", "month", "last-month"))


def _splits(visit: Visit, on: str) -> Choices:
    return Choices("Stacked by", [Choice(text=name, href=visit.here(split=name), on=name == on) for name in SPLITS])


def chips(visit: Visit) -> Chips:
    """The filters of the address, each with the address without it."""
    found: list[tuple[str, str]] = []
    every = visit.request.query_params.multi_items()
    for name, value in visit.where():
        rest = [pair for pair in every if pair != (name, value)]
        found.append((f"{name.removeprefix('where.')}: {value or NONE}", address(visit.request.url.path, rest)))
    return Chips(found)


__all__: Sequence[str] = (
    "PAGES",
    "chips",
    "compared",
    "into",
    "named",
    "reason",
    "spend_chart",
    "table_of",
    "total_of",
)

PAGES: Final = (
    Page("GET", "/", "read", overview),
    Page("GET", "/parts/changes", "read", changes),
    Page("GET", "/parts/top", "read", dearest),
    Page("GET", "/parts/quantities", "read", quantities),
    Page("GET", "/parts/bases", "read", bases),
)


async def words_on(visit: Visit, on: str, name: str) -> list[Notice]:
    """What people said of a job or an anomaly, for visitors who see the whole ledger."""
    if not visit.sees_all:
        return []
    found = await visit.ask.get(f"/v1/notes-on/{on}", name=name)
    return [Notice(one["text"]) for one in found]
