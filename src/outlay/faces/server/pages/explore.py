"""Explore: any grouping and filter, split, compared, and down to the single call. Every state is an address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from outlay.analytics.categories import CATEGORY
from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.categories import by_category
from outlay.faces.server.pages.components import (
    NONE,
    Action,
    Badge,
    Bar,
    Card,
    Cards,
    Chart,
    Choice,
    Choices,
    Count,
    Facts,
    Field,
    Figure,
    Figures,
    Fold,
    Form,
    Link,
    Notice,
    Percent,
    Prose,
    Several,
    Table,
    change_of,
    columns,
    folded,
    share,
)
from outlay.faces.server.pages.drawing import checked_step
from outlay.faces.server.pages.overview import SPLITS, TOO_MUCH, chips, into, quoted, spend_chart
from outlay.faces.server.pages.visit import Page, Period, Visit, address

GROUPS: Final = (
    "provider",
    "service",
    "operation",
    "feature",
    "project",
    "customer",
    "team",
    "user",
    "job",
    "environment",
    "meter",
    "status",
    "basis",
    "month",
    "week",
    "day",
    "hour",
)
TIMES: Final = ("month", "week", "day", "hour")
DEEPER: Final = {
    "provider": "service",
    "service": "feature",
    "operation": "feature",
    "feature": "user",
    "project": "feature",
    "customer": "user",
    "team": "feature",
    "environment": "service",
    "meter": "service",
    "status": "service",
    "basis": "service",
    "user": "job",
    "job": "calls",
}
"""What a group is looked into by next."""

ROWS: Final = 200
CALLS: Final = 100


async def explore(visit: Visit) -> Response:
    """What was spent, by whatever is asked."""
    by = visit.query.get("by", "provider")
    period = visit.period()
    hour = visit.query.get("hour", "")
    if by == "calls" or hour:
        return await _calls_page(visit, period)
    split = visit.query.get("split", by if by in SPLITS else "provider")
    compares = visit.query.get("compare", "") == "yes"
    if by == CATEGORY and visit.site.patterns:
        wanted = [by_category(visit, one) for one in ((period, period.before) if compares else (period,))]
    else:
        wanted = [visit.ask.get("/v1/costs", *visit.where(), by=by, limit=ROWS, **period.span)]
        if compares and by not in TIMES:
            wanted.append(visit.ask.get("/v1/costs", *visit.where(), by=by, limit=10_000, **period.before.span))
    try:
        found, *before = await asyncio.gather(*wanted)
    except Problem as problem:
        if problem.code not in TOO_MUCH:
            raise
        said = Notice("Too many calls to look at one by one: choose a shorter period or a filter.", "warn")
        return visit.page("Explore", [said, _bars(visit, by, split, compares), chips(visit)], status=problem.status)
    blocks = [
        _bars(visit, by, split, compares),
        chips(visit),
        _totals(visit, found, before, period),
        Card(
            title="Spend over time",
            note=period.label,
            blocks=spend_chart(visit, period, split, visit.query.get("step", "")),
        ),
        Card(title=f"By {by}", note=period.label, blocks=folded(_table(visit, found, before, by, period), 30)),
        await _saved(visit),
    ]
    meter = visit.query.get("where.meter", "")
    if meter:
        blocks.insert(-2, _used(visit, meter, period))
    return visit.page("Explore", blocks, lead=period.label)


def _used(visit: Visit, meter: str, period: Period) -> Card:
    """Money above how much of a meter was used: whether it is more, or dearer."""
    rest = [pair for pair in visit.where() if pair[0] != "where.meter"]
    query = [*rest, *_days(period), ("meter", meter), ("step", checked_step("", period.days))]
    words = meter.replace("_", " ")
    chart = Chart(source=address("/charts/quantity", query), label=f"Money and {words}, {period.label}", height=340)
    return Card(title=f"Money beside {words}", note="whether it is more, or dearer", blocks=[chart])


def _bars(visit: Visit, by: str, split: str, compares: bool) -> Any:
    groups = (*((name, name) for name in GROUPS), ("calls", "single calls"))
    tag = () if not by.startswith("tag.") else ((by, by),)
    own = ((CATEGORY, CATEGORY),) if visit.site.patterns else ()
    fields = (
        Field(name="by", label="Group by", value=by, options=(*groups, *own, *tag)),
        Field(name="split", label="Stack by", value=split, options=tuple((name, name) for name in SPLITS)),
        Field(name="since", label="From", value=visit.query.get("since", ""), kind="date"),
        Field(name="until", label="To", value=visit.query.get("until", ""), kind="date"),
    )
    kept = ("by", "split", "since", "until")
    hidden = [pair for pair in visit.request.query_params.multi_items() if pair[0] not in kept and pair[0] != "hour"]
    compare = Choices(
        "Compare",
        [
            Choice(text="off", href=visit.here(compare=None), on=not compares),
            Choice(text="with the period before", href=visit.here(compare="yes"), on=compares),
        ],
    )
    filters = Form(
        action="/explore",
        button="Add",
        label="Filter",
        method="get",
        fields=(
            Field(name="filter", label="Filter", options=tuple((name, name) for name in GROUPS if name not in TIMES)),
            Field(name="is", label="is"),
        ),
        hidden=tuple(visit.request.query_params.multi_items()),
    )
    shown = Form(
        action="/explore", button="Show", label="What to show", method="get", fields=fields, hidden=tuple(hidden)
    )
    return Card(title="What to show", blocks=[visit.periods(), compare, shown, filters])


async def filtered(visit: Visit) -> Response:
    """The form that adds a filter sends it as two fields; the address has it as one."""
    name, value = visit.query.get("filter", ""), visit.query.get("is", "")
    kept = [pair for pair in visit.request.query_params.multi_items() if pair[0] not in ("filter", "is")]
    return visit.go_to(address("/explore", [*kept, (f"where.{name}", value)]))


def _totals(visit: Visit, found: Mapping[str, Any], before: Sequence[Mapping[str, Any]], period: Period) -> Figures:
    total = found["total"]
    calls = total["events"]
    items = [
        Figure(
            label="Spend",
            value=visit.amount(total["cost"]),
            change=change_of(Decimal(total["cost"]), Decimal(before[0]["total"]["cost"])) if before else "",
            note=f"against {period.before.label}" if before else period.label,
            id="spend",
        ),
        Figure(label="Calls", value=Count(str(calls)), note=f"{total['failed']:,} failed", id="calls"),
        Figure(
            label="A call, on average",
            value=visit.amount(total["average"]) if total.get("average") else NONE,
            note=f"{period.days} days" if period.days > 1 else "one day",
        ),
        Figure(
            label="Without a price",
            value=Count(str(total["unpriced"] + total["incomplete"])),
            note=Link("Price book", "/prices?show=unpriced")
            if total["unpriced"] + total["incomplete"]
            else "everything is priced",
        ),
    ]
    return Figures(items)


def _table(
    visit: Visit, found: Mapping[str, Any], before: Sequence[Mapping[str, Any]], by: str, period: Period
) -> Table:
    total = Decimal(found["total"]["cost"])
    earlier = {row["keys"][by]: row["cost"] for row in before[0]["rows"]} if before else {}
    rows = []
    for row in found["rows"]:
        key, cost = row["keys"][by], Decimal(row["cost"])
        percent = share(cost, total)
        cells: list[Any] = [
            _deeper(visit, by, key, period),
            visit.amount(row["cost"]),
            Percent(percent),
            Bar(((percent, "accent"),), f"{percent:.1f} % of all"),
            Count(str(row["events"])),
            visit.amount(row["average"]) if row.get("average") else NONE,
            Count(str(row["failed"])),
        ]
        if before:
            then = Decimal(earlier.get(key, "0"))
            cells[2:2] = [visit.amount(then), change_of(cost, then)]
        rows.append(cells)
    titles = [by.capitalize(), ">Cost", ">~Share", "~", ">Calls", ">~A call", ">~Failed"]
    if before:
        titles[2:2] = [">~Before", ">Change"]
    csv = [*visit.where(), ("by", by), *period.span.items()]
    return Table(
        caption=f"Costs by {by}",
        columns=columns(*titles),
        rows=rows,
        empty="No spend in this time with these filters.",
        csv="" if by == CATEGORY else address("/csv/costs", csv),
        note=f"the dearest {ROWS}" if found["next"] else f"answered by {found['answered_by'].replace('_', ' ')}",
    )


def _deeper(visit: Visit, by: str, key: str | None, period: Period) -> Any:
    """A group as a link into what it is made of."""
    if by in TIMES:
        return Link(str(key), _into_time(visit, by, str(key)))
    if key == "(other)" or by == CATEGORY:
        return key or NONE
    if by == "job" and key is not None:
        return Link(key, f"/jobs/{quoted(key)}")
    following = DEEPER.get(by, "service")
    compare = {"compare": "yes"} if visit.query.get("compare") else {}
    if key is None:
        kept = [*visit.where(), (f"where.{by}", ""), *_days(period), ("by", following), *compare.items()]
        return Link(NONE, "/explore?" + _with_empty(kept))
    return Link(key, into(visit, {by: key}, period, by=following, **compare))


def _with_empty(pairs: Sequence[tuple[str, str]]) -> str:
    return urlencode(pairs)


def _into_time(visit: Visit, by: str, label: str) -> str:
    """A month opens its days, a day its hours, an hour its calls."""
    if by == "hour":
        return address("/explore", [*visit.where(), ("hour", label), ("by", "calls")])
    if by == "day":
        first = last = date.fromisoformat(label)
    elif by == "week":
        year, _, week = label.partition("-W")
        first = date.fromisocalendar(int(year), int(week), 1)
        last = first + timedelta(days=6)
    else:
        first = date.fromisoformat(f"{label}-01")
        last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    following = "hour" if by == "day" else "day"
    return address("/explore", [*visit.where(), ("since", str(first)), ("until", str(last)), ("by", following)])


def _days(period: Period) -> list[tuple[str, str]]:
    return [("since", str(period.since)), ("until", str(period.until - timedelta(days=1)))]


async def _calls_page(visit: Visit, period: Period) -> Response:
    """Single calls of a range or an hour."""
    since, until = visit.span()
    found = await visit.ask.get(
        "/v1/receipts",
        *visit.where(),
        since=since,
        until=until,
        newest=True,
        limit=CALLS,
        cursor=visit.query.get("cursor"),
    )
    hour = visit.query.get("hour", "")
    more = Link("The next calls", visit.here(cursor=found["next"], by="calls")) if found["next"] else None
    table = calls_table(visit, found["receipts"], "Calls")
    card = Card(title="Calls", note=hour or period.label, blocks=[table], more=more)
    back = Choices(
        "Group by", [Choice(text=name, href=visit.here(by=name, hour=None, cursor=None)) for name in GROUPS[:9]]
    )
    return visit.page("Explore", [Card(title="What to show", blocks=[visit.periods(), back]), chips(visit), card])


def calls_table(visit: Visit, receipts: Sequence[Mapping[str, Any]], caption: str) -> Table:
    """Receipts, one a row."""
    rows = [
        (
            visit.moment(one["occurred_at"]),
            Link(one["service"], receipt_address(one)),
            one["operation"] or "",
            " · ".join(str(one[name]) for name in ("feature", "user", "job") if one[name]),
            state_of(one),
            visit.amount(one["total"]),
        )
        for one in receipts
    ]
    titles = ("Time", "Service", "~Operation", "~For", "State", ">Cost")
    return Table(
        caption=caption, columns=columns(*titles), rows=rows, empty="No calls in this time with these filters."
    )


def receipt_address(receipt: Mapping[str, Any]) -> str:
    """The page of a receipt: an id may come again on another day."""
    return address(f"/receipts/{quoted(receipt['id'])}", [("day", receipt["occurred_at"][:10])])


def state_of(receipt: Mapping[str, Any]) -> Badge:
    """How a call ended, or that it has no price."""
    if receipt["pricing_status"] != "priced":
        return Badge(receipt["pricing_status"], "warn")
    return Badge(receipt["status"], "good" if receipt["status"] == "ok" else "bad")


async def receipt(visit: Visit) -> Response:
    """One call: its lines and the rates behind them, and all its versions."""
    id = visit.request.path_params["id"]
    found = await visit.ask.get(f"/v1/receipts/{id}", day=visit.query.get("day"))
    lines = [
        (
            line["meter"].replace("_", " "),
            Count(line["quantity"]),
            _rate(line),
            _source(line),
            visit.amount(line["amount"]),
        )
        for line in found["lines"]
    ]
    table = Table(
        caption="Lines",
        columns=columns("Meter", ">Quantity", "Price", "~Source", ">Amount"),
        rows=lines,
        total=("Total", "", "", "", visit.amount(found["total"])),
        empty="This call has no price yet: it is kept, and a price added later puts it right.",
    )
    facts = [
        ("Time", visit.moment(found["occurred_at"])),
        (
            "State",
            Several((Badge(found["status"], "good" if found["status"] == "ok" else "bad"), found["error"] or "")),
        ),
        ("Pricing", Badge(found["pricing_status"], "good" if found["pricing_status"] == "priced" else "warn")),
        ("Rests on", found["basis"]),
        ("Found in the price book", found["match"] or NONE),
        *((name.capitalize(), _attribution(name, found[name])) for name in _NAMED if found[name]),
        *((f"Tag {name}", value) for name, value in found["tags"].items()),
        *((name.capitalize(), str(value)) for name, value in found["conditions"].items()),
    ]
    history = Table(
        caption="Versions",
        columns=columns(">Number", "Kind", "Recorded", "~Rests on", "~Why", ">Amount"),
        rows=[
            (
                str(one["seq"]),
                one["kind"],
                visit.moment(one["recorded_at"]),
                one["basis"],
                one["reason"] or "",
                visit.amount(one["amount"], signed=True),
            )
            for one in found["history"]
        ],
    )
    blocks = [
        Cards(
            [
                Card(title="What it cost, line by line", blocks=[table]),
                Card(title="The call", blocks=[Facts(facts)]),
                Card(
                    title="Versions",
                    note="nothing is edited: a correction is a reversal and a new entry",
                    blocks=[history],
                ),
                Card(
                    title="In words",
                    blocks=[Fold("The whole arithmetic", [Prose(line) for line in found["explain"].splitlines()])],
                ),
            ]
        )
    ]
    return visit.page(f"{found['provider']} / {found['service']}", blocks, lead=id)


_NAMED: Final = (
    "operation",
    "user",
    "customer",
    "team",
    "project",
    "feature",
    "job",
    "environment",
    "request",
    "trace",
    "step",
)


def _attribution(name: str, value: str) -> Any:
    return Link(value, f"/jobs/{quoted(value)}") if name == "job" else value


def _rate(line: Mapping[str, Any]) -> str:
    rate = line["rate"]
    if rate is None:
        return line["note"] or "as told"
    per = f" / {rate['per']:,}" if rate["per"] != 1 else ""
    return f"{rate['price']} {rate['currency']}{per}"


def _source(line: Mapping[str, Any]) -> Any:
    rate = line["rate"]
    if rate is None:
        return ""
    text = rate["source"].removeprefix("https://").partition("/")[0] or rate["origin"]
    dated = f", {rate['source_date']}" if rate["source_date"] else ""
    if rate["source"].startswith("https://"):
        return Link(text + dated, rate["source"])
    return text + dated


# --- saved views


async def _saved(visit: Visit) -> Card:
    found = await visit.ask.get("/v1/views") if visit.sees_all else []
    items = [
        (
            Link(one["name"], "/explore?" + one["query"]),
            one["who"],
            visit.moment(one["at"]),
            Action("Remove", "/explore/views", (("remove", one["name"]),), name=one["name"])
            if visit.may_change
            else "",
        )
        for one in found
    ]
    table = Table(
        caption="Saved views",
        columns=columns("View", "~Saved by", "~When", ""),
        rows=items,
        empty="No view is saved. This page's address holds all of its state: a bookmark is a view too.",
    )
    form = Form(
        action="/explore/views",
        button="Save this view",
        fields=(Field(name="name", label="Name", required=True),),
        hidden=(("query", visit.request.url.query),),
    )
    return Card(title="Saved views", blocks=[table, *([form] if visit.may_change else [])])


async def save_view(visit: Visit) -> Response:
    """Keep a view for everybody, or take it away."""
    if "remove" in visit.form:
        await visit.ask.send("DELETE", f"/v1/views/{visit.form['remove']}")
        return visit.go("/explore", done="removed")
    query = visit.form.get("query", "")
    await visit.ask.send("PUT", f"/v1/views/{visit.form.get('name', '').strip() or 'view'}", {"query": query})
    return visit.go_to(f"/explore?{query}&done=saved" if query else "/explore?done=saved")


__all__: Sequence[str] = ("PAGES", "calls_table", "checked_step", "receipt_address", "state_of")

PAGES: Final = (
    Page("GET", "/explore", "read", lambda visit: filtered(visit) if visit.query.get("filter") else explore(visit)),
    Page("POST", "/explore/views", "admin", save_view),
    Page("GET", "/receipts/{id:path}", "read", receipt),
)
