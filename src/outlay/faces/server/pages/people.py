"""Users and customers against their limits, and the page that an end user may see of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from outlay.errors import InvalidInput, NotFound
from outlay.faces.server.pages.components import (
    NONE,
    Badge,
    Bar,
    Card,
    Cards,
    Choice,
    Choices,
    Count,
    Field,
    Figure,
    Figures,
    Form,
    Link,
    Percent,
    Table,
    calls_said,
    columns,
    filled,
    folded,
    share,
)
from outlay.faces.server.pages.explore import calls_table
from outlay.faces.server.pages.headline import OF_RULES
from outlay.faces.server.pages.overview import quoted, spend_chart, table_of
from outlay.faces.server.pages.visit import Page, Period, Visit, address, period_named

KINDS: Final = ("user", "customer", "team", "project")
ROWS: Final = 200
CALLS: Final = 20


async def people(visit: Visit) -> Response:
    """Who spends how much, against what they may."""
    kind = _kind(visit.query.get("by", "user"))
    period = visit.period("month")
    found, budgets = await asyncio.gather(
        visit.ask.get("/v1/costs", *visit.where(), by=kind, limit=10_000, **period.span),
        visit.ask.get("/v1/budgets", fullest=1_000),
    )
    limits = _limits(budgets["budgets"])
    total = Decimal(found["total"]["cost"])
    known = [row for row in found["rows"] if row["keys"][kind] not in (None, "(other)")]
    rows = [
        (
            Link(row["keys"][kind], f"/people/{kind}/{quoted(row['keys'][kind])}"),
            visit.amount(row["cost"]),
            Percent(share(Decimal(row["cost"]), total)),
            _tier(limits.get(row["keys"][kind])),
            _gauge(visit, limits.get(row["keys"][kind])),
            Count(str(row["events"])),
            Count(str(row["failed"])),
        )
        for row in known[:ROWS]
    ]
    table = Table(
        caption=f"Spend by {kind}",
        columns=columns(kind.capitalize(), ">Cost", ">~Share", "Tier", "Of their limit", ">Calls", ">~Failed"),
        rows=rows,
        empty=f"No call names its {kind} in this time. Pass {kind}=… with each call.",
        csv=address("/csv/costs", [("by", kind), *period.span.items()]),
    )
    near = [one for one in limits.values() if Decimal(one["percent"] or 0) >= 80]
    figures = Figures(
        [
            Figure(
                label=f"{kind.capitalize()}s with spend", value=Count(str(len(known))), note=period.label, id="known"
            ),
            Figure(
                label="On average",
                value=visit.amount(_each(known)) if known else NONE,
                note=f"a {kind} in {period.label}",
            ),
            Figure(label="Near or over their limit", value=Count(str(len(near))), note="80 % of a limit or more"),
        ]
    )
    kinds = Choices("By", [Choice(text=one, href=visit.here(by=one), on=one == kind) for one in KINDS])
    return visit.page(
        "Users & customers", [visit.periods("month"), kinds, figures, Card(title=f"By {kind}", blocks=folded(table))]
    )


def _each(rows: Sequence[Mapping[str, Any]]) -> Decimal:
    whole = sum((Decimal(row["cost"]) for row in rows), Decimal(0)) / len(rows)
    return whole.quantize(Decimal("1e-12"))


async def person(visit: Visit) -> Response:
    """One user, customer, team or project."""
    kind, name = _kind(visit.request.path_params["kind"]), visit.request.path_params["name"]
    blocks = await _own(visit, kind, name)
    if visit.may_change:
        tier = (await visit.ask.get(f"/v1/subjects/{kind}/{name}"))["tier"]
        form = Form(
            action="/people",
            button="Set the tier",
            fields=(
                Field(
                    name="tier",
                    label="Tier",
                    value=tier or "",
                    required=True,
                    hint="a tier moves the limit, not what was spent",
                ),
            ),
            hidden=(("kind", kind), ("name", name)),
        )
        blocks.append(Card(title="Tier", blocks=[form]))
    return visit.page(name, blocks, lead=kind)


async def me(visit: Visit) -> Response:
    """What a key or token of one user or customer shows: their own, and nothing of others."""
    for kind in KINDS:
        if kind in visit.caller.scope:
            return visit.page(
                "Your usage", await _own(visit, kind, visit.caller.scope[kind]), lead=visit.caller.scope[kind]
            )
    raise NotFound(
        "your key is not one user's or customer's; the overview shows what it may see", code="no_such_subject"
    )


async def set_tier(visit: Visit) -> Response:
    """Say somebody's tier."""
    kind, name = _kind(visit.form.get("kind", "")), visit.form.get("name", "")
    await visit.ask.send("PUT", f"/v1/subjects/{kind}/{name}", {"tier": visit.form.get("tier", "").strip()})
    return visit.go(f"/people/{kind}/{quoted(name)}", done="saved")


async def _own(visit: Visit, kind: str, name: str) -> list[Any]:
    period, where = visit.period(), (f"where.{kind}", name)
    today, month = period_named("today", visit.today), period_named("month", visit.today)
    day, whole, features, services, calls, budgets, all_budgets = await asyncio.gather(
        visit.ask.get("/v1/costs", where, **today.span),
        visit.ask.get("/v1/costs", where, **month.span),
        visit.ask.get("/v1/costs", where, by="feature", limit=10, **period.span),
        visit.ask.get("/v1/costs", where, by="service", limit=10, **period.span),
        visit.ask.get("/v1/receipts", where, newest=True, limit=CALLS, since=period.since, until=period.until),
        visit.ask.get("/v1/budgets", subject=name),
        visit.ask.get("/v1/budgets", fullest=1),
    )
    of_each = {one["budget"] for one in all_budgets["budgets"] if one["subject"]}
    standing = [one for one in budgets["budgets"] if _is_theirs(visit, one, of_each)]
    chart = _chart(visit, period, kind, name)
    return [
        visit.periods(),
        Figures([*_spent(visit, day, whole), *(_limit(visit, one) for one in standing)]),
        Cards(
            [
                Card(title="Spend over time", note=period.label, blocks=chart),
                Card(
                    title="By feature", note=period.label, blocks=[_plain(visit, features, "feature", period)], span=6
                ),
                Card(
                    title="By service", note=period.label, blocks=[_plain(visit, services, "service", period)], span=6
                ),
                Card(title="Calls", note=period.label, blocks=[calls_table(visit, calls["receipts"], "Calls")]),
            ]
        ),
    ]


def _is_theirs(visit: Visit, one: Mapping[str, Any], of_each: Set[str]) -> bool:
    """Whether an account is this subject's own: of a budget for each, or one that a key sees; no alert rule's."""
    return (one["budget"] in of_each or not visit.sees_all) and not one["budget"].startswith(OF_RULES)


def _plain(visit: Visit, found: Mapping[str, Any], by: str, period: Period) -> Table:
    return table_of(visit, found, by, period, most=10)


def _chart(visit: Visit, period: Period, kind: str, name: str) -> list[Any]:
    return spend_chart(visit, period, "feature", extra=[(f"where.{kind}", name)])


def _spent(visit: Visit, day: Mapping[str, Any], month: Mapping[str, Any]) -> list[Figure]:
    return [
        Figure(
            label="Today",
            value=visit.amount(day["total"]["cost"]),
            note=calls_said(day["total"]["events"]),
            id="today",
        ),
        Figure(
            label="This month",
            value=visit.amount(month["total"]["cost"]),
            note=calls_said(month["total"]["events"]),
            id="month",
        ),
    ]


def _limit(visit: Visit, one: Mapping[str, Any]) -> Figure:
    percent = Decimal(one["percent"] or 0)
    used = Decimal(one["spent"]) + Decimal(one["reserved"])
    money = one["unit"] == visit.facts.currency
    return Figure(
        label=f"{one['budget']}, {one['window']}" + (f", {one['tier']}" if one["tier"] else ""),
        value=visit.amount(used) if money else Count(format(used, "f"), one["unit"]),
        bar=Bar(((percent, filled(percent)),), f"{percent} % of the limit"),
        note=one["warning"] or f"of {one['limit']} {one['unit']}, {one['remaining']} left",
    )


def _limits(budgets: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The fullest account of each subject."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in budgets:
        name = one["subject"]
        if name and Decimal(one["percent"] or 0) >= Decimal(found.get(name, {}).get("percent") or 0):
            found[name] = one
    return found


def _tier(one: Mapping[str, Any] | None) -> Any:
    return Badge(one["tier"], "accent") if one and one["tier"] else NONE


def _gauge(visit: Visit, one: Mapping[str, Any] | None) -> Any:
    if one is None:
        return "no limit"
    percent = Decimal(one["percent"] or 0)
    return Bar(((percent, filled(percent)),), f"{percent} % of {one['limit']} {one['unit']} a {one['window']}")


def _kind(text: str) -> str:
    if text not in KINDS:
        raise InvalidInput(f"by is one of {', '.join(KINDS)}", code="unknown_dimension", field="by")
    return text


PAGES: Final = (
    Page("GET", "/people", "read unscoped", people),
    Page("POST", "/people", "admin", set_tier),
    Page("GET", "/people/{kind}/{name:path}", "read unscoped", person),
    Page("GET", "/me", "read", me),
)
