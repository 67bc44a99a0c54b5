"""Estimates made tables: the arithmetic line by line, rows with totals and margin, scenarios, the bill beside it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from outlay.analytics.against import BilledComparison
from outlay.analytics.estimate import EstimateComparison, JobEstimate
from outlay.analytics.stack import MONTHS_A_YEAR, Amounts, Difference, StackEstimate, StackLine, StackRow
from outlay.faces.cli.render import Cell, Column, Table
from outlay.model import PricedLine, Unrated
from outlay.money import Money
from outlay.pricing.explain import arithmetic

LINES: Final = (
    Column("row", "row"),
    Column("part", "part"),
    Column("arithmetic", "arithmetic"),
    Column("month", "a month", right=True),
    Column("month_high", "at most", right=True, when_empty=False),
    Column("note", "note", when_empty=False),
)


def table_of_lines(found: StackEstimate) -> Table:
    """Every line of every row with its arithmetic; a row that costs nothing with its reason."""
    rows: list[list[Cell]] = []
    for row in found.rows:
        if row.reason:
            rows.append([row.name, "", row.reason, found.money(0), None, ""])
        for line in row.lines:
            high = found.money(line.amounts.high) if line.amounts.is_range else None
            rows.append(
                [
                    row.name,
                    _part(line),
                    _steps(line, found.currency),
                    found.money(line.amounts.low),
                    high,
                    _note(line),
                ]
            )
    return Table(LINES, rows, title=f"{found.name}, line by line", note=_missing(found.unrated))


def table_of_stack(found: StackEstimate) -> Table:
    """A row a resource, then subtotals by provider, the margin as a line of its own, and the total."""
    columns = (
        Column("row", ""),
        Column("month", "a month", right=True),
        Column("month_high", "at most", right=True, when_empty=False),
        Column("year", "a year", right=True),
        Column("year_high", "at most", right=True, when_empty=False),
        Column("why", "", when_empty=False),
    )
    rows: list[list[Cell]] = [[row.name, *_amounts(row.month, found), _why(row, found)] for row in found.rows]
    subtotals = found.by_provider()
    if len(subtotals) > 1:
        rows += [[f"all of {name}", *_amounts(amounts, found), ""] for name, amounts in subtotals.items()]
    if found.margin_percent:
        rows.append([f"margin of {found.margin_percent:f} %", *_amounts(found.margin, found), ""])
    return Table(
        columns,
        rows,
        ["total", *_amounts(found.month, found), ""],
        title=f"{found.name}, a month of 730 hours",
        note=_missing(found.unrated),
    )


def table_of_differences(base: StackEstimate, found: list[Difference]) -> Table:
    """Each scenario's month and what it changes; what saves is negative."""
    columns = (
        Column("scenario", "scenario"),
        Column("month", "a month", right=True),
        Column("month_high", "at most", right=True, when_empty=False),
        Column("change", "change", right=True),
        Column("change_high", "or", right=True, when_empty=False),
        Column("change_percent", "%", right=True),
        Column("year_change", "a year", right=True),
        Column("note", "", when_empty=False),
    )
    rows: list[list[Cell]] = []
    for one in found:
        month, change = one.estimate.month, one.change
        rows.append(
            [
                one.name,
                *_pair(month, base),
                *_pair(change, base),
                percent(one.change_percent[0]),
                base.money(change.times(MONTHS_A_YEAR).low),
                _missing(one.estimate.unrated),
            ]
        )
    return Table(columns, rows, title=f"scenarios, against {base.money(base.month.low)} a month")


def table_of_bill(found: BilledComparison) -> Table:
    """Each row's estimate for the period beside what the ledger holds."""
    columns = (
        Column("row", ""),
        Column("estimated", "estimated", right=True),
        Column("estimated_high", "at most", right=True, when_empty=False),
        Column("actual", "actual", right=True),
        Column("difference", "difference", right=True),
        Column("percent", "%", right=True),
        Column("services", "in the ledger as"),
    )
    rows: list[list[Cell]] = []
    for row in found.rows:
        nearer = row.estimated.high if row.difference > 0 else row.estimated.low
        share = Fraction(100 * row.difference, nearer) if nearer else None
        high = Money(row.estimated.high, found.currency) if row.estimated.is_range else None
        rows.append(
            [
                row.name,
                Money(row.estimated.low, found.currency),
                high,
                Money(row.actual, found.currency),
                Money(row.difference, found.currency),
                percent(share),
                ", ".join(row.services),
            ]
        )
    return Table(columns, rows, title=f"against what {float(found.days):g} days really cost")


def table_of_job(found: JobEstimate) -> Table:
    """Every step's lines, the margin as a line of its own, the total."""
    columns = (
        Column("step", "step"),
        Column("calls", "calls", right=True),
        Column("arithmetic", "arithmetic"),
        Column("cost", "cost", right=True),
        Column("cost_high", "at most", right=True, when_empty=False),
    )
    rows: list[list[Cell]] = []
    for step in found.steps:
        for low, high in zip(step.low.lines, step.high.lines, strict=True):
            at_most = Money(high.amount, found.currency) if high.amount != low.amount else None
            shown = _both(low, high, step.event.count, found.currency)
            rows.append([step.name, step.event.count, shown, Money(low.amount, found.currency), at_most])
    if found.margin_percent:
        margin = Money(found.margin.low, found.currency)
        high_margin = Money(found.margin.high, found.currency) if found.margin.is_range else None
        rows.append([f"margin of {found.margin_percent:f} %", None, "", margin, high_margin])
    total = Money(found.amounts.high, found.currency) if found.amounts.is_range else None
    return Table(
        columns, rows, ["total", None, "", found.low, total], title="before it is made", note=_missing(found.unrated)
    )


def table_of_comparison(found: EstimateComparison) -> Table:
    """A job's estimate beside what it cost, by service."""
    columns = (
        Column("provider", "provider"),
        Column("service", "service"),
        Column("estimated", "estimated", right=True),
        Column("estimated_high", "at most", right=True, when_empty=False),
        Column("actual", "actual", right=True),
        Column("difference", "outside the estimate", right=True),
    )
    rows: list[list[Cell]] = []
    for part in found.parts:
        money = [Money(pico, found.currency) for pico in (part.estimated.low, part.estimated.high)]
        high = money[1] if part.estimated.is_range else None
        actual = Money(part.actual, found.currency)
        rows.append([part.provider, part.service, money[0], high, actual, Money(part.difference, found.currency)])
    whole = found.estimated
    high_total = Money(whole.high, found.currency) if whole.is_range else None
    foot: list[Cell] = ["total", "", Money(whole.low, found.currency), high_total, found.actual, found.difference]
    return Table(columns, rows, foot, title=f"{found.job}: estimated and made")


def as_plain(found: StackEstimate) -> dict[str, Any]:
    """An estimate as plain data: exact amounts, every line with its arithmetic and the source of its rate."""
    return {
        "name": found.name,
        "currency": found.currency,
        "margin_percent": found.margin_percent,
        "net": _plain(found.net, found),
        "margin": _plain(found.margin, found),
        "month": _plain(found.month, found),
        "year": _plain(found.year, found),
        "rows": [_plain_row(row, found) for row in found.rows],
        "unrated": [{"row": name, "meter": one.meter, "reason": one.reason} for name, one in found.unrated],
    }


def _plain_row(row: StackRow, found: StackEstimate) -> dict[str, Any]:
    lines = [
        {
            "part": line.label,
            "meter": line.low.meter,
            "quantity": Decimal(line.low.quantity),
            "times": line.times,
            "arithmetic": _steps(line, found.currency),
            **_plain(line.amounts, found),
            "source": "" if line.low.rate is None else line.low.rate.source,
            "source_date": "" if line.low.rate is None else line.low.rate.source_date,
            "note": _note(line),
        }
        for line in row.lines
    ]
    unit = None if row.unit is None else _plain(row.unit, found)
    return {"row": row.name, **_plain(row.month, found), "reason": row.reason, "unit": unit, "lines": lines}


def _plain(amounts: Amounts, found: StackEstimate) -> dict[str, Money]:
    return {"low": found.money(amounts.low), "high": found.money(amounts.high)}


def percent(share: Fraction | None) -> Decimal | None:
    """A percentage with one decimal, None of nothing."""
    return None if share is None else Decimal(round(share * 10)) / 10


def _pair(amounts: Amounts, found: StackEstimate) -> list[Cell]:
    return [found.money(amounts.low), found.money(amounts.high) if amounts.is_range else None]


def _amounts(month: Amounts, found: StackEstimate) -> Iterator[Cell]:
    yield from _pair(month, found)
    yield from _pair(month.times(MONTHS_A_YEAR), found)


def _why(row: StackRow, found: StackEstimate) -> str:
    if row.unit is None:
        return row.reason
    each = found.money(row.unit.low).digits()
    if row.unit.is_range:
        each += f" to {found.money(row.unit.high).digits()}"
    return f"{row.units:,} at {each}"


def _part(line: StackLine) -> str:
    return line.label or line.low.meter.replace("_", " ")


def _steps(line: StackLine, currency: str) -> str:
    shown = _both(line.low, line.high, 1, currency)
    return f"({shown}) × {line.times:,}" if line.times != 1 else shown


def _both(low: PricedLine, high: PricedLine, count: int, currency: str) -> str:
    first = arithmetic(low, count, currency)
    return first if low.amount == high.amount else f"{first} to {arithmetic(high, count, currency)}"


def _note(line: StackLine) -> str:
    """What is to be said of a line; which of listed prices applied is in the JSON of `explain`, not here."""
    return "; ".join(part for part in line.low.note.split("; ") if "no own rate" not in part)


def _missing(unrated: tuple[tuple[str, Unrated], ...]) -> str:
    """What has no price leaves the sum too low; a condition without a price (of no quantity) leaves the base rate."""
    if not unrated:
        return ""
    name, one = unrated[0]
    more = f", and {len(unrated) - 1} more" if len(unrated) > 1 else ""
    if not one.quantity:
        return f"not as asked: {name}: {one.reason}{more}"
    return f"too low: {one.meter} of {name} has no price ({one.reason}){more}"
