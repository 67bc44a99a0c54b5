"""The numbers that the first page leads with: today, yesterday, the month and its end, the hour, a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from outlay.faces.server.pages.components import (
    Bar,
    Figure,
    Link,
    Percent,
    Several,
    calls_said,
    change_of,
    filled,
    share,
)
from outlay.faces.server.pages.visit import Period, Visit, address, period_named

OF_RULES: Final = "alert:"
"""What the name of a budget begins with that is an alert rule's."""


async def leading(visit: Visit, month: Period) -> list[Figure]:
    """What was spent, and what the month will probably have cost at its end."""
    last, before_today = period_named("last-month", visit.today), visit.today - timedelta(days=1)
    found, ahead, hours, limit = await asyncio.gather(
        visit.ask.get("/v1/costs", *visit.where(), by="day", since=last.since, until=month.until),
        visit.ask.get("/v1/forecast", *visit.where(), window="month"),
        visit.ask.get("/v1/costs", *visit.where(), by="hour", since=before_today, until=month.until),
        _month_limit(visit),
    )
    costs = {row["keys"]["day"]: Decimal(row["cost"]) for row in found["rows"]}
    spent = [cost for day, cost in costs.items() if day >= str(month.since)]
    so_far = [cost for day, cost in costs.items() if day < str(month.since)]
    calls = sum(row["events"] for row in found["rows"] if row["keys"]["day"] == str(visit.today))
    return [
        *_days(visit, costs, calls),
        Figure(
            label="This month",
            value=visit.amount(sum(spent, Decimal(0))),
            note=Several(("last month", visit.amount(sum(so_far, Decimal(0))))),
            href=address("/explore", [("period", "month")]),
            id="month",
        ),
        Figure(
            label="Projected month",
            value=visit.amount(ahead["total"]["total"]),
            note=_between(visit, ahead["total"], limit),
            bar=_against(ahead["total"], limit),
            href="/forecast",
            id="projected",
        ),
        _hour(visit, hours["rows"][-1] if hours["rows"] else None),
    ]


def _days(visit: Visit, costs: Mapping[str, Decimal], calls: int) -> list[Figure]:
    today, yesterday, before = (costs.get(str(visit.today - timedelta(days=back)), Decimal(0)) for back in range(3))
    return [
        Figure(
            label="Today",
            value=visit.amount(today),
            note=f"so far, in {calls_said(calls)}",
            href=address("/explore", [("period", "today")]),
            id="today",
        ),
        Figure(
            label="Yesterday",
            value=visit.amount(yesterday),
            change=change_of(yesterday, before),
            note="against the day before",
            href=address("/compare", [("period", "yesterday")]),
            id="yesterday",
        ),
    ]


def _hour(visit: Visit, latest: Mapping[str, Any] | None) -> Figure:
    return Figure(
        label="Per hour, latest",
        value=visit.amount(latest["cost"] if latest else "0"),
        note=f"in {calls_said(latest['events'])}" if latest else "no calls since yesterday",
        href=address("/explore", [("period", "today"), ("by", "hour")]),
        id="hour",
    )


async def _month_limit(visit: Visit) -> Decimal | None:
    """The limit of the greatest budget that covers all calls of a month; None without one, or for a part of them."""
    if visit.where() or not visit.sees_all:
        return None
    standing = [
        one
        for one in (await visit.ask.get("/v1/budgets"))["budgets"]
        if len(one["window"]) == len("2026-03") and not one["subject"] and not one["budget"].startswith(OF_RULES)
    ]
    found = await asyncio.gather(*(visit.ask.get(f"/v1/budgets/{one['budget']}") for one in standing))
    whole = [
        Decimal(one["limit"])
        for one, budget in zip(standing, found, strict=True)
        if not budget["where"] and one["unit"] == visit.facts.currency
    ]
    return max(whole, default=None)


def _between(visit: Visit, projected: Mapping[str, Any], limit: Decimal | None) -> str:
    span = next((one for one in projected["intervals"] if one["level"] == 80), None)
    if span is None:
        return str(projected["learned"])
    words = f"80 %: {visit.amount(span['low']).shown} to {visit.amount(span['high']).shown}"
    return words if limit is None else f"of {visit.amount(limit).shown}; {words}"


def _against(projected: Mapping[str, Any], limit: Decimal | None) -> Bar | None:
    """What is spent and what is to come, of the month's budget."""
    if not limit:
        return None
    spent, whole = (share(Decimal(projected[name]), limit) for name in ("spent", "total"))
    parts: Any = ((spent, "bad" if whole > 100 else "accent"), (whole - spent, "quiet"))
    return Bar(parts, f"{whole:.0f} % of the month's budget is expected")


async def fullest_budget(visit: Visit) -> list[Figure]:
    """The fullest budget in money, as the page's last figure."""
    found = (await visit.ask.get("/v1/budgets"))["budgets"]
    known = [one for one in found if one["percent"] is not None and not one["budget"].startswith(OF_RULES)]
    if not known:
        return [Figure(label="Budgets", value="none", note=Link("Set the first one", "/budgets"), id="budget")]
    fullest = max(known, key=lambda one: Decimal(one["percent"]))
    percent = Decimal(fullest["percent"])
    name = fullest["budget"] + (f" · {fullest['subject']}" if fullest["subject"] else "")
    return [
        Figure(
            label="Fullest budget",
            value=Percent(percent),
            bar=Bar(((percent, filled(percent)),), f"{percent} % of {name} is used"),
            note=f"{name}, {fullest['window']}",
            href=f"/budgets/{fullest['budget']}",
            id="budget",
        )
    ]
