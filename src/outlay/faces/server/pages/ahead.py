"""Forecast and comparison: what the present window will have cost, and two periods or releases side by side."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from outlay.faces.server.pages.components import (
    NONE,
    Bar,
    Card,
    Chart,
    Choice,
    Choices,
    Count,
    Field,
    Figure,
    Figures,
    Form,
    Link,
    Several,
    Table,
    calls_said,
    change_of,
    columns,
    folded,
    share,
)
from outlay.faces.server.pages.overview import SPLITS, chips, compared, into, named, reason
from outlay.faces.server.pages.visit import Page, Period, Visit, address

WINDOWS: Final = ("day", "week", "month", "quarter", "year")
BY: Final = {"feature,service": "feature and service", **{name: name for name in (*SPLITS, "operation")}}


async def forecast(visit: Visit) -> Response:
    """What the window will have cost at its end, in all and by group."""
    window = visit.query.get("window", "month")
    by = visit.query.get("by", "service")
    found = await visit.ask.get("/v1/forecast", *visit.where(), window=window, by=by)
    total = found["total"]
    spans = {one["level"]: one for one in total["intervals"]}
    rest = Decimal(total["total"]) - Decimal(total["spent"])
    figures = Figures(
        [
            Figure(label="Spent so far", value=visit.amount(total["spent"]), note=total["label"], id="spent"),
            Figure(label="Still to come", value=visit.amount(rest), note="expected"),
            Figure(label=f"The whole {window}", value=visit.amount(total["total"]), note="expected", id="projected"),
            Figure(label="80 % between", value=_between(visit, spans.get(80)), note="four times in five"),
            Figure(
                label="95 % between", value=_between(visit, spans.get(95)), note=f"learned from: {total['learned']}"
            ),
        ]
    )
    chart = Chart(
        source=address("/charts/forecast", [*visit.where(), ("window", window)]),
        label="Spend so far and what is expected, with bands of 80 and 95 %",
        height=340,
    )
    rows = [
        (
            Link(
                named(row["keys"]),
                address(
                    "/explore", [*visit.where(), *((f"where.{name}", value) for name, value in row["keys"].items())]
                ),
            ),
            visit.amount(row["spent"]),
            visit.amount(row["total"]),
            _between(visit, next((one for one in row["intervals"] if one["level"] == 80), None)),
            _course(row, Decimal(total["total"])),
        )
        for row in found["rows"]
    ]
    table = Table(
        caption=f"Forecast by {by}",
        columns=columns(by.capitalize(), ">So far", ">Expected", ">~80 % between", "~Share"),
        rows=rows,
        empty="There is nothing to learn from yet.",
        note="each is forecast by itself, so they need not add up to the whole",
    )
    windows = Choices("Window", [Choice(text=one, href=visit.here(window=one), on=one == window) for one in WINDOWS])
    groups = Choices("By", [Choice(text=one, href=visit.here(by=one), on=one == by) for one in SPLITS])
    blocks = [
        windows,
        groups,
        chips(visit),
        figures,
        Card(title="Where it is going", blocks=[chart]),
        Card(title=f"By {by}", blocks=[table]),
    ]
    return visit.page("Forecast", blocks, lead=f"the present {window}")


def _between(visit: Visit, span: Mapping[str, str] | None) -> Any:
    if span is None:
        return NONE
    return Several((visit.amount(span["low"]), "to", visit.amount(span["high"])))


def _course(row: Mapping[str, Any], total: Decimal) -> Bar:
    spent, whole = Decimal(row["spent"]), Decimal(row["total"])
    parts: tuple[tuple[Decimal, Any], ...] = ((share(spent, total), "accent"), (share(whole - spent, total), "quiet"))
    return Bar(parts, f"{share(whole, total):.1f} % of the whole")


async def compare(visit: Visit) -> Response:
    """Two periods side by side, or one period of two features, services, releases."""
    by = visit.query.get("by", "feature,service")
    after = visit.period("yesterday")
    before = _before(visit, after)
    found = await compared(visit, before, after, by)
    query = [
        *visit.where(),
        *visit.sides(),
        ("by", by),
        ("before_since", str(before.since)),
        ("before_until", str(before.until)),
        *after.span.items(),
    ]
    label = "What the change is made of: the steps add up to it"
    chart = Chart(source=address("/charts/change", query), label=label, height=300)
    groups = Choices("By", [Choice(text=text, href=visit.here(by=name), on=name == by) for name, text in BY.items()])
    blocks = [
        visit.periods("yesterday"),
        groups,
        chips(visit),
        *_change_in_figures(visit, found, before, after),
        Card(title="What the change is made of", blocks=[chart]),
        Card(title="What changed, and why", blocks=folded(_changes(visit, found, by, after))),
        Card(title="Other periods", blocks=[_form(visit, before, after, by)]),
    ]
    return visit.page("Compare", blocks, lead=f"{_days(after)} against {_days(before)}")


PARTS: Final = (
    ("volume", "Volume", "more calls", "fewer calls"),
    ("mix", "Mix", "dearer features, services", "cheaper features, services"),
    ("price", "Price", "the same call, dearer", "the same call, cheaper"),
    ("failures", "Failures", "more for failed calls", "less for failed calls"),
)
"""What a change is made of: its name, its title, and what it means that it is more or less."""


def _change_in_figures(visit: Visit, found: Mapping[str, Any], before: Period, after: Period) -> list[Figures]:
    total, change = found["total"], found["total"]["change"]
    sides = [
        Figure(
            label=side.capitalize(),
            value=visit.amount(total[side]["cost"]),
            note=f"{_days(period)}, {calls_said(total[side]['calls'])}",
            id=side,
        )
        for side, period in (("before", before), ("after", after))
    ]
    whole = Figure(
        label="Change" + (", by the day" if found["by_day"] else ""),
        value=visit.amount(change["amount"], signed=True),
        change=change_of(Decimal(change["after"]), Decimal(change["before"])),
        id="change",
    )
    parts = [
        Figure(label=label, value=visit.amount(change[name], signed=True), note=_meaning(change[name], more, less))
        for name, label, more, less in PARTS
    ]
    return [Figures([*sides, whole]), Figures(parts)]


def _meaning(amount: str, more: str, less: str) -> str:
    number = Decimal(amount)
    return more if number > 0 else less if number < 0 else "no part of it"


def _changes(visit: Visit, found: Mapping[str, Any], by: str, after: Period) -> Table:
    rows = [
        (
            Link(named(row["keys"]), into(visit, row["keys"], after, by="user")),
            visit.amount(row["before"]["cost"]),
            visit.amount(row["after"]["cost"]),
            visit.amount(row["change"]["amount"], signed=True),
            change_of(Decimal(row["change"]["after"]), Decimal(row["change"]["before"])),
            reason(visit, row["change"]),
            Several((Count(str(row["before"]["calls"])), "→", Count(str(row["after"]["calls"])))),
        )
        for row in found["rows"][:100]
        if Decimal(row["change"]["amount"])
    ]
    titles = (BY.get(by, by).capitalize(), ">~Before", ">~After", ">Change", ">~", "Why", ">~Calls")
    empty = "Nothing was spent on either side."
    return Table(caption="What changed", columns=columns(*titles), rows=rows, empty=empty)


def _days(period: Period) -> str:
    last = period.until - timedelta(days=1)
    return str(period.since) if period.since == last else f"{period.since} to {last}"


def _before(visit: Visit, after: Period) -> Period:
    since, until = visit.query.get("before_since", ""), visit.query.get("before_until", "")
    if not since or not until:
        return after.before
    return visit.between(since, until)


def _form(visit: Visit, before: Period, after: Period, by: str) -> Form:
    def field(name: str, label: str, value: Any) -> Field:
        return Field(name=name, label=label, value=str(value), kind="date", required=True)

    day = timedelta(days=1)
    return Form(
        action="/compare",
        button="Compare",
        method="get",
        fields=(
            field("before_since", "Before: from", before.since),
            field("before_until", "to", before.until - day),
            field("since", "After: from", after.since),
            field("until", "to (after)", after.until - day),
        ),
        hidden=(("by", by), *visit.where(), *visit.sides()),
    )


PAGES: Final = (
    Page("GET", "/forecast", "read", forecast),
    Page("GET", "/compare", "read", compare),
)
