"""The pictures of a report, drawn from its own tables: what they show is what the tables say."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from outlay.analytics.report import REST, Cell, Report, Section
from outlay.clock import to_instant
from outlay.faces import charts
from outlay.faces.charts import Spec
from outlay.model import CostRow, CostTable
from outlay.money import Money

WIDTH: Final = 600
"""How wide a mail is, in pixels."""

SCALE: Final = 2
"""Dots to a pixel, so that pictures are sharp on the screens of telephones."""

_EDGE: Final = {"left": 0, "right": 14, "top": 4, "bottom": 4}
"""Pictures begin where the tables under them do; at the right there is room for half a date."""

_FIRST: Final = "spend-by-day"
_ORDER: Final = {_FIRST: 0, "cost-of-one": 2, "by-provider": 3}
_BY_PROVIDER_FROM: Final = 2
_COST_OF_ONE: Final = "Cost of one"


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A chart of a report: its file's name, without an ending, and its spec."""

    name: str
    spec: Spec

    @property
    def said(self) -> str:
        """What it shows, in words."""
        return str(self.spec["description"])


def pictures(report: Report, width: int = WIDTH) -> list[Picture]:
    """The charts of a report: each day by provider, the dearest of each table, and providers by themselves last."""
    found = []
    for section in report.sections:
        if section.name == "daily":
            found.append(Picture(name=_FIRST, spec=_daily(section, report, width)))
            if any(row[section.columns.index(_COST_OF_ONE)] for row in section.rows):
                found.append(Picture(name="cost-of-one", spec=_cost_of_one(section, report, width)))
        elif "% of total" in section.columns and "Cost" in section.columns and section.rows:
            found.append(Picture(name=_named(section), spec=_top(section, report, width)))
    found = [replace(one, spec={**one.spec, "padding": _EDGE}) for one in found]
    return sorted(found, key=lambda one: _ORDER.get(one.name, 1))


def _daily(section: Section, report: Report, width: int) -> Spec:
    """Spend of each day by provider, with the notes of people."""
    last = section.columns.index("Total")
    rows, notes = [], []
    for cells in section.rows:
        day = str(cells[0])
        for name, cell in zip(section.columns[_BY_PROVIDER_FROM:last], cells[_BY_PROVIDER_FROM:last], strict=True):
            if isinstance(cell, Money) and cell.pico:
                key = REST if name == "Others" else name
                rows.append(CostRow(keys=(day, key), amount=cell.pico, events=0))
        if cells[1]:
            at = to_instant(f"{day}T00:00", report.zone)
            notes.append(charts.Note(at, str(cells[1])))
    spec = charts.spend_over_time(
        _table(("day", "provider"), rows, report),
        title="Spend by day and provider",
        width=width,
        height=260,
    )
    return charts.with_notes(spec, notes, report.zone)


def _cost_of_one(section: Section, report: Report, width: int) -> Spec:
    """What one finished piece of work cost each day: a gap where nothing was finished."""
    column = section.columns.index(_COST_OF_ONE)
    points = [
        (to_instant(f"{row[0]}T00:00", report.zone), cell.pico if isinstance(cell := row[column], Money) else None)
        for row in section.rows
    ]
    whole = section.total[column] if section.total else None
    return charts.trend(
        points,
        zone=report.zone,
        currency=report.total.currency,
        title="What one finished piece of work costs",
        subtitle=f"{whole.digits()} over the whole period" if isinstance(whole, Money) else "",
        width=width,
    )


def _top(section: Section, report: Report, width: int) -> Spec:
    """The dearest groups of a table."""
    cost = section.columns.index("Cost")
    calls = section.columns.index("Calls") if "Calls" in section.columns else None
    by = tuple(name.lower() for name in section.columns[: section.texts])
    rows = []
    for cells in section.rows:
        money = cells[cost]
        if isinstance(money, Money):
            keys = tuple(str(cell) for cell in cells[: section.texts])
            rows.append(CostRow(keys=keys, amount=money.pico, events=_count(cells, calls)))
    return charts.top_bar(_table(by, rows, report), title=section.title, width=width)


def _count(cells: tuple[Cell, ...], at: int | None) -> int:
    cell = None if at is None else cells[at]
    return cell if isinstance(cell, int) else 0


def _table(by: tuple[str, ...], rows: list[CostRow], report: Report) -> CostTable:
    total = CostRow(keys=(), amount=sum(row.amount for row in rows), events=sum(row.events for row in rows))
    return CostTable(
        by=by,
        rows=tuple(rows),
        total=total,
        currency=report.total.currency,
        zone=report.zone,
        answered_by="report",
    )


def _named(section: Section) -> str:
    return "by-" + "-".join(part for part in section.name.replace(".", ",").split(",") if part.isalnum())
