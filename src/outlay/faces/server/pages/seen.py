"""When each service was called first and last: what is new, and what nobody calls any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from outlay.faces.server.pages.components import (
    NONE,
    Badge,
    Count,
    Link,
    Several,
    Table,
    columns,
    folded,
    total_of,
)
from outlay.faces.server.pages.visit import Page, Visit, address

BACK_DAYS: Final = 90
"""Within so many days the day is told on which a service was seen, before them its month."""

NEW_DAYS: Final = 7
QUIET_DAYS: Final = 14
ROWS_MOST: Final = 10_000

Name = tuple[str, str]


async def services(visit: Visit) -> Response:
    """Services by when they were called first, the newest first."""
    since = visit.today - timedelta(days=BACK_DAYS - 1)
    until = visit.today + timedelta(days=1)
    lately, before = await asyncio.gather(
        visit.ask.get(
            "/v1/costs", *visit.where(), by="day,provider,service", since=since, until=until, limit=ROWS_MOST
        ),
        visit.ask.get("/v1/costs", *visit.where(), by="month,provider,service", until=since, limit=ROWS_MOST),
    )
    days, months = _by_service(lately["rows"], "day"), _by_service(before["rows"], "month")
    firsts = {name: months[name][0] if name in months else days[name][0] for name in {**days, **months}}
    rows = []
    for name in sorted(sorted(firsts), key=lambda one: str(firsts[one]["label"]), reverse=True):
        seen = [*months.get(name, ()), *days.get(name, ())]
        rows.append(
            (
                Link(" / ".join(name), _into(name)),
                Several((firsts[name]["label"], *_said_of_first(visit, firsts[name]["label"]))),
                Several((seen[-1]["label"], *_said_of_last(visit, seen[-1]["label"]))),
                Count(str(sum(one["events"] for one in seen))),
                visit.amount(total_of(one["cost"] for one in seen)),
            )
        )
    table = Table(
        caption="Services by when they were seen",
        columns=columns("Service", "First seen", "Last seen", ">~Calls", ">Cost"),
        rows=rows,
        empty="No service was called yet.",
        note=f"by the day in the last {BACK_DAYS} days, by the month before",
    )
    return visit.part(folded(table, 12))


def _by_service(rows: Iterable[Mapping[str, Any]], step: str) -> dict[Name, list[Mapping[str, Any]]]:
    """What each service cost by day or month, the oldest first."""
    found: dict[Name, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda one: str(one["keys"][step])):
        keys = row["keys"]
        name = (keys["provider"] or NONE, keys["service"] or NONE)
        found.setdefault(name, []).append(
            {"label": keys[step], "events": row["events"], "cost": Decimal(row["cost"])}
        )
    return found


def _into(name: Name) -> str:
    return address(
        "/explore", [("where.provider", name[0]), ("where.service", name[1]), ("period", "90d"), ("by", "day")]
    )


def _said_of_first(visit: Visit, label: str) -> tuple[Badge, ...]:
    return (Badge("new", "accent"),) if _days_ago(visit, label) < NEW_DAYS else ()


def _said_of_last(visit: Visit, label: str) -> tuple[Badge, ...]:
    return (Badge("quiet"),) if _days_ago(visit, label) >= QUIET_DAYS else ()


def _days_ago(visit: Visit, label: str) -> int:
    """How long ago a day is; a month lies further back than any day that is told."""
    return (visit.today - date.fromisoformat(label)).days if len(label) == len("2026-03-01") else BACK_DAYS


PAGES: Final = (Page("GET", "/parts/services", "read", services),)
