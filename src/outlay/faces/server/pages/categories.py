"""Spend by the categories of outlay.toml: names of people's own, found by patterns when the question is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from outlay.analytics.categories import CATEGORY, fields_needed, group_by_category
from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.components import Prose
from outlay.faces.server.pages.overview import TOO_MUCH, table_of
from outlay.faces.server.pages.visit import Page, Period, Visit
from outlay.model import CostRow, CostTable
from outlay.money import pico_to_decimal, round_half_even

ROWS: Final = 8


async def by_category(visit: Visit, period: Period) -> dict[str, Any]:
    """Costs by category, the dearest first, as GET /v1/costs tells its groups. Raises Problem."""
    patterns = visit.site.patterns
    fields = fields_needed(patterns)
    table = await visit.ask.exact(
        CostTable, "/v1/costs", *visit.where(), *(("by", name) for name in fields), limit=10_000, **period.span
    )
    rows = group_by_category(fields, (CATEGORY,), table.rows, patterns)
    rows.sort(key=lambda row: (-row.amount, str(row.keys)))
    return {
        "rows": [{"keys": {CATEGORY: row.keys[0]}, **_told(row)} for row in rows],
        "total": _told(table.total),
        "next": None,
        "answered_by": "the patterns of outlay.toml",
    }


def _told(row: CostRow) -> Mapping[str, Any]:
    average = _amount(round_half_even(row.amount, row.events)) if row.events else None
    counts = {name: getattr(row, name) for name in ("events", "failed", "unpriced", "incomplete")}
    return {"cost": _amount(row.amount), "average": average, **counts}


def _amount(pico: int) -> str:
    return format(pico_to_decimal(pico), "f")


async def dearest(visit: Visit) -> Response:
    """The dearest categories, for the first page."""
    period = visit.period()
    try:
        found = await by_category(visit, period)
    except Problem as problem:
        if problem.code not in TOO_MUCH:
            raise
        return visit.part([Prose("Too many jobs to look at one by one: choose a shorter period.")])
    return visit.part([table_of(visit, found, CATEGORY, period, most=ROWS)])


PAGES: Final = (Page("GET", "/parts/categories", "read", dearest),)
