"""The cloud and the bills: what was billed beside what was called, why they differ, what is prepaid."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.components import (
    Badge,
    Card,
    Cards,
    Count,
    Figure,
    Figures,
    Notice,
    Several,
    Table,
    change_of,
    columns,
    folded,
)
from outlay.faces.server.pages.overview import spend_chart, table_of
from outlay.faces.server.pages.visit import Page, Visit

BILLED: Final = ("where.basis", "billed")


async def cloud(visit: Visit) -> Response:
    """What bills say, against the ledger."""
    period = visit.period()
    statements, services, balances = await asyncio.gather(
        visit.ask.get("/v1/statements"),
        visit.ask.get("/v1/costs", BILLED, by="service", limit=200, **period.span),
        visit.ask.get("/v1/balances"),
    )
    if not statements and not services["rows"]:
        words = "No bill was taken in yet: outlay import FILE, or outlay bill aws --yesterday."
        return visit.page("Cloud & bills", [Notice(words)])
    blocks: list[Any] = [visit.periods(), *await _reconciled(visit, bool(statements))]
    chart = spend_chart(visit, period, "service", extra=[BILLED])
    by_service = table_of(visit, services, "service", period, most=200)
    blocks.append(
        Cards(
            [
                Card(title="Billed, over time", note=period.label, blocks=chart, span=7),
                Card(title="Billed, by service", note=period.label, blocks=folded(by_service, 12), span=5),
                Card(title="Bills", note="as they were taken in", blocks=folded(_statements(visit, statements), 12)),
            ]
        )
    )
    if balances:
        blocks.append(Card(title="Prepaid balances", blocks=[_balances(visit, balances)]))
    return visit.page("Cloud & bills", blocks)


async def _reconciled(visit: Visit, there: bool) -> list[Any]:
    if not there:
        return []
    try:
        found = await visit.ask.get("/v1/reconciliation")
    except Problem as problem:
        return [Notice(problem.message, "warn")]
    billed, called = (
        sum((Decimal(one[name]) for one in found["services"]), Decimal(0)) for name in ("billed", "called")
    )
    figures = Figures(
        [
            Figure(
                label="Billed", value=visit.amount(found["billed"]), note=f"{found['day_from']} to {found['day_to']}"
            ),
            Figure(label="Of it without calls", value=visit.amount(found["unmetered"]), note="what runs by itself"),
            Figure(
                label="Billed for calls",
                value=visit.amount(billed),
                change=change_of(billed, called, rise="warn", fall="warn"),
                note="against what the ledger recorded",
            ),
            Figure(
                label="Called, not billed yet", value=visit.amount(found["not_billed"]), note="on days of no bill"
            ),
        ]
    )
    rows = [
        (
            f"{one['provider']} / {one['service']}",
            visit.amount(one["billed"]),
            visit.amount(one["called"]),
            visit.amount(one["amount"], signed=True),
            Several(tuple(_causes(visit, one["causes"]))) if one["causes"] else Badge("agrees", "good"),
        )
        for one in found["services"]
    ]
    table = Table(
        caption="Billed against called",
        columns=columns("Service", ">Billed", ">~Called", ">Difference", "Why"),
        rows=rows,
        empty="No service is both called and billed: nothing has to agree.",
        note="outlay reconcile writes the difference as adjustments",
    )
    return [figures, Card(title="Billed against called", blocks=folded(table))]


def _causes(visit: Visit, causes: Mapping[str, str]) -> list[Any]:
    return [part for name, amount in causes.items() for part in (Badge(name), visit.amount(amount, signed=True))]


def _statements(visit: Visit, statements: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            one["source"],
            ", ".join(one["providers"]),
            f"{one['day_from']} to {one['day_to']}",
            Count(str(one["rows"])),
            Several(tuple(f"{total} {currency}" for currency, total in one["totals"].items())),
            visit.moment(one["recorded_at"]),
        )
        for one in reversed(statements)
    ]
    titles = ("Source", "~Provider", "Days", ">~Rows", ">Total", "~Taken in")
    return Table(caption="Bills", columns=columns(*titles), rows=rows, empty="No bill is kept row by row.")


def _balances(visit: Visit, balances: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            one["provider"],
            visit.amount(one["left"]),
            visit.amount(one["burn"]),
            one["runs_out"] or "not at this rate",
            visit.moment(one["known_at"]),
        )
        for one in balances
    ]
    titles = ("Provider", ">Left", ">A day", "Runs out", "~Known at")
    return Table(caption="Prepaid balances", columns=columns(*titles), rows=rows)


PAGES: Final = (Page("GET", "/cloud", "read unscoped", cloud),)
